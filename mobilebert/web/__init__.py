"""What runs in a browser: the page of the demo, and the module that answers where no server does.

page.html, page.css, page.js, icon.svg    the page: of demo/app.py, or in a folder of `export.py --format web`
mobilebert.mjs, wordpiece.mjs, words.mjs  `Predictor` over transformers.js, in Node and in the browser
local.mjs, worker.mjs                     the model behind the page of such a folder
package.json, package-lock.json           what comes from npm, with digests; see ``packages``
"""

from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = ("page.html", "page.css", "page.js", "icon.svg")
MODULES = ("mobilebert.mjs", "wordpiece.mjs", "words.mjs")
WORKER = ("local.mjs", "worker.mjs")
