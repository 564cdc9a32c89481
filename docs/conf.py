"""Configuration of the documentation site; `make docs` builds it."""

import dsrl_mm.pose
import dsrl_mm.seg
import dsrl_mm.uhr  # noqa: F401

project = 'dsrl_mm'
author = copyright = 'The dsrl_mm developers'
version = release = dsrl_mm.__version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx_copybutton']
exclude_patterns = ['_build', '_generated', 'examples']
html_theme = 'furo'
html_title = f'dsrl_mm {version}'
html_static_path = []

myst_enable_extensions = ['colon_fence', 'dollarmath']
myst_heading_anchors = 3

autodoc_member_order = 'bysource'
autodoc_default_options = {'members': True, 'show-inheritance': True}
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Links to our own public names must resolve. Those of other libraries are not checked: the build needs no network.
nitpicky = True
nitpick_ignore_regex = [('py:.*', r'(?!dsrl_mm\.).*|.*\._.*')]
