"""The tests: unit tests mirror ``aiproxy/``, ``integration`` uses real sockets."""

from hypothesis import settings

# Here and not in a conftest, so that trial uses it as well. A busy machine is
# no mistake of the code's, so an example has no deadline; a failure prints
# what reproduces it.
settings.register_profile("aiproxy", deadline=None, print_blob=True)
settings.load_profile("aiproxy")
