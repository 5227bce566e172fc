"""The options of a data set (`data.options`): a typed model for each kind of data set, one message for a mistake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from deeplab.datasets.interface import Dataset, nearest
from evaluation.errors import UserError


class Options(BaseModel):
    """Options of a data set that has none, and the base of those that have some.

    Unknown keys are errors, types are not coerced (a seed given as text is refused), values do not change.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


@dataclass(frozen=True)
class DefaultSplits:
    """The splits of a data set that serve a study whose configuration names none."""

    search: str
    """Split that candidates are scored on."""
    heldout: str
    """Split that the final Pareto front is scored on, once. Shares no image with `search`."""
    train: str
    """Split for fine-tuning, and for calibration where `data.calibration` is not given."""


@dataclass(frozen=True)
class DatasetKind:
    """A kind of data set, such as `voc`: how it is opened, the options it takes, its default splits."""

    open: Callable[..., Dataset]
    """`open(root, options)`, or `open(options)` where `is_generated`."""
    options: type[Options]
    splits: DefaultSplits
    is_generated: bool = False
    """Whether the images are made by the program: there is no folder."""


def checked_options(model: type[Options], given: Mapping[str, Any]) -> Options:
    """The options in `given` as `model`.

    Raises:
        UserError: an unknown option or a value of the wrong type or size. The message begins with the option's name and
            does not name the data set.
    """
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
        raise UserError(_explained(details[0], tuple(model.model_fields))) from None


def _explained(detail: ErrorDetails, valid: tuple[str, ...]) -> str:
    name, *inner = detail["loc"]
    where = f"{name}{''.join(f'[{index}]' for index in inner if isinstance(index, int))}"
    given = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            known = nearest(str(name), valid) if valid else "; this data set takes no options"
            return f"no option {shown_value(name)}{known}"
        case "value_error":
            return f"{where}: {detail['ctx']['error']}"
        case "int_type":
            return f"{where}: expected a whole number, found {shown_value(given)}"
        case "float_type":
            return f"{where}: expected a number, found {shown_value(given)}"
        case "string_type":
            quotes = "" if isinstance(given, dict | list) else "; put it in quotes"
            return f"{where}: expected a text, found {shown_value(given)}{quotes}"
        case "tuple_type":
            return f"{where}: expected a list, found {shown_value(given)}"
        case _:
            message = detail["msg"].removeprefix("Input ")
            return f"{where}: {message[0].lower()}{message[1:]}, found {shown_value(given)}"


def shown_value(value: Any) -> str:
    """A value in a message: never more than a few words, never more than one line."""
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python converts to text
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
