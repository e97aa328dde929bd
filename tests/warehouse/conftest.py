"""What the tests of this folder share with those of the command line."""

from tests.cli.conftest import cdp as cdp
