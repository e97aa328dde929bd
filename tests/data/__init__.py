"""Real projects over public data: what a person would write, and the answers that are known."""

import pytest

pytest.register_assert_rewrite("tests.data.making")
