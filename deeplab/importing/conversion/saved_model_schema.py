"""The part of TensorFlow's SavedModel format that is checked, as protocol buffers: read without TensorFlow.

Names and numbers of fields are those of `saved_model.proto`, `meta_graph.proto`, `graph.proto`, `function.proto`,
`node_def.proto`, `attr_value.proto`, `tensor.proto`, `tensor_shape.proto` and `saved_object_graph.proto` in
tensorflow/core/{protobuf,framework}. Fields that are not listed are passed over; a map is a list of entries.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "petitlab.saved_model"
_FIELDS: dict[str, dict[int, tuple[str, str]]] = {
    "SavedModel": {2: ("meta_graphs", "MetaGraph*")},
    "MetaGraph": {
        2: ("graph_def", "Graph"),
        5: ("signature_def", "SignatureEntry*"),
        7: ("object_graph_def", "Objects"),
    },
    "Graph": {1: ("node", "Node*"), 2: ("library", "Library")},
    "Library": {1: ("function", "Function*")},
    "Function": {1: ("signature", "FunctionSignature"), 3: ("node_def", "Node*")},
    "FunctionSignature": {1: ("name", "string")},
    "Node": {1: ("name", "string"), 2: ("op", "string"), 3: ("input", "string*"), 5: ("attr", "AttributeEntry*")},
    "AttributeEntry": {1: ("key", "string"), 2: ("value", "Attribute")},
    "Attribute": {1: ("list", "AttributeList"), 8: ("tensor", "Tensor"), 10: ("func", "FunctionName")},
    "AttributeList": {8: ("tensor", "Tensor*"), 9: ("func", "FunctionName*")},
    "FunctionName": {1: ("name", "string")},
    "Tensor": {2: ("tensor_shape", "Shape")},
    "Shape": {2: ("dim", "Dimension*"), 3: ("unknown_rank", "bool")},
    "Dimension": {1: ("size", "int64")},
    "SignatureEntry": {1: ("key", "string"), 2: ("value", "Signature")},
    "Signature": {1: ("inputs", "TensorEntry*"), 2: ("outputs", "TensorEntry*")},
    "TensorEntry": {1: ("key", "string"), 2: ("value", "TensorInfo")},
    "TensorInfo": {1: ("name", "string"), 2: ("dtype", "int32"), 3: ("tensor_shape", "Shape")},
    "Objects": {1: ("nodes", "Object*")},
    "Object": {
        1: ("children", "Child*"),
        5: ("asset", "Anything"),
        7: ("variable", "Variable"),
        10: ("resource", "Anything"),
        11: ("saveable_objects", "Anything*"),
        16: ("registered_saver", "string"),
    },
    "Child": {1: ("node_id", "int32"), 2: ("local_name", "string")},
    "Variable": {2: ("shape", "Shape")},
    "Anything": {},
}  # fmt: skip


@cache
def message_type(name: str) -> Any:
    """The class of messages of one of the types above."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))


@cache
def _pool() -> Any:
    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {
        "string": kinds.TYPE_BYTES,
        "bool": kinds.TYPE_BOOL,
        "int32": kinds.TYPE_INT32,
        "int64": kinds.TYPE_INT64,
    }
    file = descriptor_pb2.FileDescriptorProto(name="petitlab_saved_model.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for number, (name, stated) in fields.items():
            kind = stated.removesuffix("*")
            label = kinds.LABEL_REPEATED if stated.endswith("*") else kinds.LABEL_OPTIONAL
            field = described.field.add(name=name, number=number, label=label)
            field.type = scalars.get(kind, kinds.TYPE_MESSAGE)
            if kind not in scalars:
                field.type_name = f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool
