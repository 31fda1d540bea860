"""Whatever is put in any place of a file that others wrote: it is read, or refused in one line, in bounded memory.

`make fuzz` tries many more.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .damaged_files import KINDS, prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("damaged"))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_damaged_files(folder: Path, kind: str, data: st.DataObject) -> None:
    KINDS[kind].is_refused(folder, data.draw(KINDS[kind].damaged(folder)))
