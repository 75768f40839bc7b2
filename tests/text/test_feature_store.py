"""Features on disk: found again, bounded, never wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from diffseg.errors import UserError
from diffseg.segmenters.text.feature_store import (
    FeatureStore,
    content_of,
    features_folder,
    limit_bytes,
)

KEY = {"image": "abc", "options": [1, 2.5]}


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    return {"a": torch.randn(3, 4, generator=source), "b": torch.arange(2)}


def test_what_is_kept_is_found_bit_for_bit(tmp_path: Path) -> None:
    FeatureStore(tmp_path, 10**6).put(KEY, tensors())
    found = FeatureStore(tmp_path, 10**6).get(dict(reversed(KEY.items())))
    assert found is not None
    assert found.keys() == {"a", "b"}
    assert all(torch.equal(found[name], one) for name, one in tensors().items())
    assert not list(tmp_path.glob(".*"))


def test_any_other_key_finds_nothing(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, 10**6)
    store.put(KEY, tensors())
    assert store.get({**KEY, "image": "abd"}) is None
    assert store.get({**KEY, "options": [1, 2.25]}) is None
    assert not store.told()


@pytest.mark.parametrize("how", ["cut", "bit", "empty", "other"])
def test_what_is_damaged_is_told_and_gone(tmp_path: Path, how: str) -> None:
    store = FeatureStore(tmp_path, 10**6)
    store.put(KEY, tensors())
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    if how == "bit":
        content[-3] ^= 4
    damaged = {
        "cut": content[:-9],
        "bit": content,
        "empty": b"",
        "other": b"something else altogether",
    }
    file.write_bytes(bytes(damaged[how]))
    assert store.get(KEY) is None
    (line,) = store.told()
    assert "damaged" in line
    assert not file.exists()
    assert not store.told()


def test_what_was_not_read_for_longest_goes_first(tmp_path: Path) -> None:
    FeatureStore(tmp_path, 10**6).put({"n": 0}, tensors())
    (file,) = tmp_path.iterdir()
    each = file.stat().st_size
    store = FeatureStore(tmp_path, 4 * each)
    for n in range(1, 4):
        store.put({"n": n}, tensors(n))
    for n in range(4):  # as if they were written one after another
        path = store._file({"n": n})
        os.utime(path, ns=(n * 10**9, n * 10**9))
    assert store.get({"n": 0}) is not None  # read: now the newest
    store.put({"n": 4}, tensors(4))
    kept = [n for n in range(5) if store.get({"n": n}) is not None]
    assert kept == [0, 3, 4]
    assert sum(one.stat().st_size for one in tmp_path.iterdir()) <= 4 * each


def test_it_never_grows_beyond_its_limit(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, 3000)
    for n in range(40):
        store.put({"n": n}, tensors(n))
        assert sum(one.stat().st_size for one in tmp_path.iterdir()) <= 3000
    store.put({"n": 99}, {"large": torch.zeros(4000)})
    assert store.get({"n": 99}) is None


def test_none_are_kept_where_the_limit_is_0(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "new", 0)
    store.put(KEY, tensors())
    assert store.get(KEY) is None
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = FeatureStore(tmp_path / "file" / "features", 10**6)
    store.put(KEY, tensors())
    store.put({"n": 1}, tensors())
    (line,) = store.told()
    assert "cannot be kept" in line


def test_place_and_limit_are_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", "/somewhere")
    assert features_folder() == Path("/somewhere/features")
    monkeypatch.delenv("DIFFSEG_FEATURES_MB", raising=False)
    assert limit_bytes() == 2_000_000_000
    monkeypatch.setenv("DIFFSEG_FEATURES_MB", "1.5")
    assert limit_bytes() == 1_500_000
    for wrong in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("DIFFSEG_FEATURES_MB", wrong)
        with pytest.raises(UserError, match="give a number of megabytes"):
            limit_bytes()


def test_content_is_shape_kind_and_values() -> None:
    zeros = torch.zeros(2, 3)
    same = content_of(torch.zeros(3, 2).T)
    assert content_of(zeros) == same
    others = [torch.zeros(3, 2), zeros.double(), zeros + 1e-30]
    assert content_of(zeros) not in {content_of(one) for one in others}
