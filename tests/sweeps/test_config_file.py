"""Each mistake in a configuration is one line that names file, line and key, and says how to put it right."""

from pathlib import Path
from typing import get_args

import pytest

from deeplab.datasets import DATASETS
from evaluation.errors import UserError
from evaluation.yaml_file import parse_yaml
from sweeps.cli.list_keys import HEAD, describe_keys, documented_yaml
from sweeps.config.load import check_files, load_config
from sweeps.config.schema import DataSetName, SweepConfig, flatten, parse_split

REPOSITORY = Path(__file__).resolve().parents[2]
GOOD = "study: s\ndata:\n  name: streets\n"


def load(tmp_path: Path, text: str, *overrides: str) -> SweepConfig:
    (tmp_path / "c.yaml").write_text(text)
    return load_config(tmp_path / "c.yaml", overrides)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "spce: 1\n", ("c.yaml:4: spce: unknown key", "did you mean 'space'?")),
        (GOOD + "space:\n  weight_bitz: [1]\n", ("c.yaml:5: space.weight_bitz: unknown key", "'weight_bits'")),
        (GOOD + "space:\n  tile_count: []\n", ("c.yaml:5: space.tile_count: empty search range",)),
        (GOOD + "space:\n  tile_count: 4\n", ("c.yaml:5: space.tile_count: expected a list", "found 4")),
        (GOOD + "space:\n  tile_count: [1, 0]\n", ("c.yaml:5: space.tile_count.1: ", "found 0")),
        (GOOD + "space:\n  tile_count: [2, 2]\n", ("a level twice",)),
        (GOOD + "space:\n  weight_bits: [7, 32]\n", ("c.yaml:5: space.weight_bits: 7 is not a level", "2, 3, 4")),
        (GOOD + "space:\n  weight_bits: [8]\n", ("c.yaml:4: space: ", "must both have the level 32")),
        (GOOD + "space:\n  sparsity: [1.0]\n", ("c.yaml:5: space.sparsity.0: ", "less than 1")),
        (GOOD + "search:\n  trials: many\n", ("c.yaml:5: search.trials: expected a whole number", "'many'")),
        (GOOD + "search:\n  trials: 1.5\n", ("expected a whole number, found 1.5",)),
        (GOOD + "search:\n  sampler: tree\n", ("c.yaml:5: search.sampler: must be 'ehvi'", "found 'tree'")),
        (GOOD + "seed: true\n", ("c.yaml:4: seed: expected a whole number, found True",)),
        (GOOD + "seed: 1\nseed: 2\n", ("c.yaml:5: seed: occurs twice (first on line 4)",)),
        (GOOD + "search: 3\n", ("c.yaml:4: search: expected a section",)),
        (GOOD + "seed: [\n", ("not valid YAML",)),
        (GOOD + "finetune:\n  learning_rate: .nan\n", ("c.yaml:5: finetune.learning_rate: ", "finite")),
        (GOOD + "choice: {rule: budget}\n", ("c.yaml:4: choice: ", "needs budget_mb")),
        ("data: {name: streets}\n", ("study: is missing",)),
        ("study: s\ndata: {name: voc}\n", ("c.yaml:2: data: ", "needs a folder")),
        ("study: a/b\ndata: {name: streets}\n", ("c.yaml:1: study: ", "'a/b'")),
        (f"study: {'a' * 300}\ndata: {{name: streets}}\n", ("c.yaml:1: study: ", "100 characters")),
        ("study: s\ndata: {name: streets, heldout: val}\n", ("share images",)),
        ("study: s\ndata: {name: streets, train: null}\n", ("data needs train or calibration",)),
        ("study: s\ndata: {name: streets, options: {height: 33.5}}\n",
         ("c.yaml:2: data.options: ", "of the data set streets: height: expected a whole number, found 33.5")),
        ("study: s\ndata: {name: streets, options: {heigth: 64}}\n", ("did you mean 'height'", "valid: seed, height")),
        ("study: s\ndata: {name: streets, calibration: {name: voc, options: {seed: 1}}}\n",
         ("c.yaml:2: data.calibration.options: ", "of the data set voc: no option 'seed'; this data set takes no")),
        ("study: s\ndata: {search: val}\n", ("c.yaml:2: data.name: is missing; add it",)),
        ("- 1\n", ("expected keys and values",)),
        ("", ("expected keys and values",)),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    assert "c.yaml" in message
    for word in words:
        assert word in message


HOSTILE = {
    "an alias bomb": (
        "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)),
        "more than 20,000 values with its aliases",
    ),
    "an alias of itself": ("extra: &a [*a]\n", "extra.0: an alias that contains itself"),
    "deep lists": (f"extra: {'[' * 3000}\n", "nested too deeply"),
    "deep sections": (f"extra: {'{a: ' * 3000}\n", "nested too deeply"),
    "deep blocks": ("extra:\n" + "".join(f"{' ' * i}a:\n" for i in range(1, 300)), "nested too deeply"),
    "a list as a key": ("? [a, b]\n: 3\n", "used as a key"),
    "a section as a key": ("? {a: b}\n: 3\n", "used as a key"),
    "a date as a key": ("2024-01-01: 3\n", "2024-01-01: unknown key"),
    "a truth value as a key": ("true: 3\n", "c.yaml:4: 'true' is used as a key and is no text"),
    "an impossible date": ("seed: 2024-99-99\n", "seed: expected a whole number, found the text '2024-99-99'"),
    "a long number": (f"seed: {'9' * 5000}\n", "seed: a number of 5,000 characters"),
    "a long hexadecimal number": (f"seed: 0x{'f' * 5000}\n", "seed: a number of 5,002 characters"),
    "a tag": ("seed: !!timestamp abc\n", "seed: has the tag !!timestamp"),
    "a Python object": ("seed: !!python/object/apply:os.system [ls]\n", "has the tag !!python/obj"),
    "a control character": ('out: "a\\0b"\n', "out: holds the control character U+0000"),
    "a raw control character": ("out: a\x1bb\n", "c.yaml:4: holds the character U+001B"),
    "half a surrogate pair": ('out: "a\\uD800b"\n', "out: holds the control character U+D800"),
    "no user of that name": ("out: ~nosuchuser/x\n", "out: ~nosuchuser/x: no home folder of that user"),
    "a huge value": (f"seed: {'x' * 9000}\n", "seed: expected a whole number, found the text 'xxxx"),
    "a seed that numpy does not take": ("seed: 9223372036854775808\n", "c.yaml:4: seed: "),
    "a batch of no machine": ("finetune: {batch: 999999999999}\n", "finetune.batch: "),
    "a time that is for ever": ("search: {trial_seconds: 1e300}\n", "search.trial_seconds: "),
    "two documents": ("---\nstudy: t\n", "another document"),
    "a directive of no number": (f"...\n%YAML {'9' * 5000}.1\n---\na: 1\n", "not valid YAML"),
    "an escape of no character": ('out: "\\UFFFFFFFF"\n', "not valid YAML"),
}


@pytest.mark.parametrize(("text", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_in_one_short_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, GOOD + text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "value", ["[[[[" * 100, "~nosuchuser", "&a [*a]", "9" * 5000, "!!set {a}", "2024-99-99", '"\\0"']
)
def test_a_hostile_override_is_refused_in_one_short_line(tmp_path: Path, value: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, GOOD, f"target={value}", "seed=x")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("true", True), ("null", None),
        ("~", None), ("", None), ("1e-3", 1e-3), ("-.5", -0.5), ("010", 10), ("0x1F", 31), ("0o17", 15), ("+7", 7),
        ("'8'", "8"), ("!!str 8", "8"), ("1_000", "1_000"), ("[1, a]", [1, "a"]), ("{a: {b: 1}}", {"a": {"b": 1}}),
        (".5.5", ".5.5"), ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)  # fmt: skip
def test_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert parse_yaml(f"key: {text}", "c.yaml").tree == {"key": value}


def test_aliases_and_merges_are_expanded() -> None:
    text = "base: &base {a: 1, b: 2}\nother: &other {c: 3, b: 9}\nkey:\n  <<: [*base, *other]\n  a: 4\nagain: *base\n"
    tree = parse_yaml(text, "c.yaml").tree
    assert tree["key"] == {"a": 4, "b": 2, "c": 3}
    assert tree["again"] == {"a": 1, "b": 2}
    assert parse_yaml("'<<': 1", "c.yaml").tree == {"<<": 1}


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_config(tmp_path / "c.yaml").study == "s"


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("study: é".encode("latin-1"))
    (tmp_path / "large.yaml").write_bytes(b"a" * 2_000_000)
    for name, words in [
        ("latin.yaml", "not UTF-8"), ("large.yaml", "2,000,000 bytes"), ("none.yaml", "no such file"),
        (".", "not a file"),
        ("a\0b", "no such file"), ("x" * 5000, "cannot be read"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=words):
            load_config(tmp_path / name)


_BITS = GOOD + "space:\n  weight_bits: [4, 8, 32]\n  activation_bits: [8, 16, 32]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_BITS + "  aspp_weight_bits: []\n",
         "7: space.aspp_weight_bits: empty search range; give at least one level, e.g. the one to hold fixed"),
        (_BITS + "  decoder_weight_bits: [4, 4]\n", "7: space.decoder_weight_bits: has a level twice: [4, 4]"),
        (_BITS + "  decoder_weight_bits: [4, 7]\n",
         "7: space.decoder_weight_bits: 7 is not a level; choose from 2, 3, 4, 5, 6, 8, 16"),
        (_BITS + "  aspp_weight_bits: [4, 32]\n",
         "7: space.aspp_weight_bits: 32 is not a level; choose from 2, 3, 4, 5, 6, 8, 16"),
        (_BITS + "  aspp_activation_bits: [16]\n",
         "7: space.aspp_activation_bits: 16 is not a level; choose from 4, 6, 8"),
        (_BITS + "  decoder_activation_bits: [5]\n",
         "7: space.decoder_activation_bits: 5 is not a level; choose from 4, 6, 8"),
        (_BITS + "  aspp_weight_bits: 4\n",
         "7: space.aspp_weight_bits: expected a list such as [1, 2, 4], found 4"),
        (_BITS + "  aspp_weigth_bits: [4]\n",
         "7: space.aspp_weigth_bits: unknown key; did you mean 'aspp_weight_bits'?"),
        (GOOD + "space: {weight_bits: [32], activation_bits: [32], aspp_weight_bits: [4]}\n",
         "4: space: aspp_weight_bits needs a level below 32 in weight_bits; add one, or remove aspp_weight_bits"),
        (GOOD + "space: {weight_bits: [8], activation_bits: [16], decoder_activation_bits: [8]}\n",
         "4: space: decoder_activation_bits needs a level below 16 in activation_bits; add one, or remove "
         "decoder_activation_bits"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_bits_of_a_stage(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    assert str(caught.value) == f"{tmp_path / 'c.yaml'}:{message}"


def test_weights_alone_do_not_say_which_group_gives(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="4: channels: criterion l1 compares channels of one group only, and allotment"):
        load(tmp_path, GOOD + "channels: {criterion: l1}\n")
    assert load(tmp_path, GOOD + "channels: {criterion: l1, allotment: uniform}\n").channels.criterion == "l1"


def test_the_bits_of_a_stage_are_a_dimension_where_they_are_given(tmp_path: Path) -> None:
    assert load(tmp_path, _BITS).space.space().stage_levels == {}
    assert load(tmp_path, _BITS + "  aspp_weight_bits: null\n") == load(tmp_path, _BITS)
    config = load(tmp_path, _BITS + "  decoder_activation_bits: [8, 4]\n", "space.aspp_weight_bits=[6]")
    assert config.space.space().stage_levels == {"aspp_weight_bits": (6,), "decoder_activation_bits": (4, 8)}
    assert config.identity() != load(tmp_path, _BITS).identity()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("search.trails=4", ("-o search.trails=4", "did you mean 'trials'?")),
        ("search.trials=x", ("-o search.trials=x", "expected a whole number")),
        ("search.trials", ("expected key=value",)),
        ("spase.x=1", ("-o spase.x=1", "did you mean 'space'?")),
        ("study.x=1", ("study is a value, not a section",)),
        ("seed=[", ("-o seed=[: not valid YAML",)),
    ],
)
def test_overrides_are_checked_like_the_file(tmp_path: Path, override: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, GOOD, override)
    for word in words:
        assert word in str(caught.value)


def test_an_override_wins_and_numbers_follow_yaml_1_2(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD + "search: {trials: 4}\n", "search.trials=7", "finetune.learning_rate=1e-3")
    assert config.search.trials == 7
    assert config.finetune.learning_rate == 0.001


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_config(tmp_path / "none.yaml")


def test_paths_count_from_the_file_and_from_here_in_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    text = "study: s\ndata: {name: voc, path: images}\nnetwork: {source: net.tflite}\n"
    config = load(tmp_path, text)
    assert config.data.path == tmp_path / "images"
    assert config.network.source == str(tmp_path / "net.tflite")
    assert config.out == here / "studies"
    assert load(tmp_path, text, "data.path=mine").data.path == here / "mine"


def test_a_missing_folder_or_network_names_its_key(tmp_path: Path) -> None:
    config = load(tmp_path, "study: s\ndata: {name: voc, path: none}\n")
    with pytest.raises(UserError, match=r"data\.path: no folder .*none.*-o data\.path=FOLDER"):
        check_files(config)
    config = load(tmp_path, GOOD + "network: {source: none.tflite}\n")
    with pytest.raises(UserError, match=r"network\.source: no file"):
        check_files(config)


@pytest.mark.parametrize("name", ["pareto.yaml", "ade20k.yaml", "voc.yaml"])
def test_the_configurations_of_this_repository_load(name: str) -> None:
    config = load_config(REPOSITORY / name)
    assert config.search.trials <= len(config.space.space().candidates())


def test_splits() -> None:
    assert parse_split("val") == ("val", slice(None, None))
    assert parse_split("val[:27]") == ("val", slice(None, 27))
    assert parse_split("val[10:20]") == ("val", slice(10, 20))
    with pytest.raises(ValueError, match="not a split"):
        parse_split("val[")


def test_what_a_resumed_study_may_change_is_not_its_identity(tmp_path: Path) -> None:
    one = load(tmp_path, GOOD)
    assert one.identity() == load(tmp_path, GOOD, "search.trials=99", "search.workers=2").identity()
    assert one.identity() != load(tmp_path, GOOD, "seed=1").identity()


def test_the_documented_file_holds_every_key_at_its_default_and_is_current(tmp_path: Path) -> None:
    documented = REPOSITORY / "docs" / "every-key.yaml"
    assert documented.read_text() == "\n".join((HEAD, *documented_yaml())) + "\n", "petitlab keys > it"
    whole, least = load_config(documented), load(tmp_path, "study: streets\ndata: {name: streets}\n")
    assert flatten(whole.model_dump(mode="json")) == flatten(least.model_dump(mode="json"))


def test_each_data_set_has_the_default_splits_it_declares(tmp_path: Path) -> None:
    assert set(DATASETS) == set(get_args(DataSetName))
    for name, kind in DATASETS.items():
        where = "" if kind.is_generated else ", path: x"
        data = load(tmp_path, f"study: s\ndata: {{name: {name}{where}, calibration: {{name: {name}}}}}\n").data
        assert (data.search, data.heldout, data.train) == (kind.splits.search, kind.splits.heldout, kind.splits.train)
        assert data.calibration.split == kind.splits.train
    text = GOOD + "  train: null\n  calibration: {name: streets}\nfinetune: {loss: distill}\n"
    assert load(tmp_path, text).data.train is None


def test_the_keys_that_are_listed_hold_the_options_of_every_data_set() -> None:
    listed = {key: default for key, default, _ in describe_keys()}
    for kind in DATASETS.values():
        assert {f"data.options.{name}" for name in kind.options.model_fields} <= set(listed)
    assert listed["data.options.train_images"] == "null"
    for name, kind in DATASETS.items():
        assert any(
            default.startswith(f"{kind.splits.heldout} (") and name in default
            for default in listed["data.heldout"].split(", ")
        ), name
