"""What comes with the packages is found by its name."""

import pytest

from mtl_split_core.errors import InputError
from mtl_split_core.share import bundle_folder


def test_a_bundle_is_a_shipped_one_or_a_folder() -> None:
    assert (bundle_folder("street") / "manifest.json").is_file()
    assert str(bundle_folder("my/street")) == "my/street"
    with pytest.raises(InputError, match=r"no bundle 'stret' is shipped, only roads, street; the folder of another"):
        bundle_folder("stret")
