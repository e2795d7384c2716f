"""How Sphinx builds the site: ``make docs``."""

import os
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ["MPLBACKEND"] = "agg"

import generated  # noqa: E402
import matplotlib  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402

from fastmlp import __version__  # noqa: E402

matplotlib.use("agg")
# Examples train for as many epochs as a picture needs.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

generated.write(HERE / "generated")

project = "fastmlp"
author = "fastmlp developers"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["build", "_build", "generated", "gallery/**/README*", "gallery/GALLERY_HEADER.rst"]
# How long each example took is of no use to a reader.
exclude_patterns += ["sg_execution_times.rst", "**/sg_execution_times.rst"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 3
myst_substitutions = generated.substitutions()
default_role = "py:obj"
templates_path = ["_templates"]

# Kept in the tree: the build looks at no network. `python docs/inventories.py` writes them anew.
intersphinx_mapping = {
    "sklearn": ("https://scikit-learn.org/stable/", str(HERE / "inventories" / "scikit-learn.inv")),
    "numpy": ("https://numpy.org/doc/stable/", str(HERE / "inventories" / "numpy.inv")),
}

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say it
autodoc_default_options = {
    "members": True,
    "inherited-members": "BaseEstimator, ClassifierMixin, RegressorMixin, CallbackSupportMixin",
    "exclude-members": "set_fit_request, set_partial_fit_request, set_predict_request, set_predict_proba_request, "
    "set_score_request, set_decision_function_request, get_metadata_routing, add_note, with_traceback",
}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
numpydoc_validation_checks = set("GL03 GL05 GL06 GL07 GL08 SS01 SS02 SS03 PR01 PR02 PR03 PR10 RT03 YD01".split())  # noqa: SIM905

doctest_global_setup = "import warnings; warnings.simplefilter('ignore')"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "show_memory": False,
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "backreferences_dir": None,
    "reference_url": {"fastmlp": None},
    "doc_module": ("fastmlp",),
    "image_scrapers": ("legible.scraper",),
    "reset_modules": ("matplotlib",),
    "only_warn_on_example_error": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "fastmlp"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("install", "first_steps", "how_it_works", "benchmarks", "changelog")}
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}
