"""The application: settings, then the installation, then prefs' doors, then webhooks' doors."""

import os
from threading import Thread

from flask import Flask

from prefs import keywords
from prefs.installation import Installation
from prefs.settings import Settings
from prefs.web import door, openapi, pages, shortcut
from prefs.web.api import api
from prefs.web.bursts_api import bursts_api
from prefs.web.check import checking
from prefs.web.device import device
from prefs.web.directory_api import directory_api
from prefs.web.health import health
from prefs.web.preview import preview
from prefs.web.texts_api import texts_api
from webhooks import letters
from webhooks.inbound import inbound


def create_app(opened: Installation | None = None) -> Flask:
    """The WSGI application. Without an installation it opens the one of the environment."""
    if opened is None:
        opened = Installation.open(Settings.load(os.environ))
        opened.directory.watch()
        if not opened.settings.preview:
            letters.watch(opened)
        # The rules of all languages take a second or two to make, and Telnyx waits no longer.
        Thread(target=keywords.read, args=("",), name="keywords", daemon=True).start()
    app = Flask("prefs.web")
    door.install(app, opened)
    app.register_blueprint(health)
    pages.install(app)
    app.register_blueprint(device)
    if opened.settings.preview:
        app.register_blueprint(preview)
    openapi.install(app, checking, api, directory_api, bursts_api, texts_api)
    app.register_blueprint(openapi.openapi)
    app.register_blueprint(inbound)
    app.wsgi_app = shortcut.before(app.wsgi_app, opened)  # type: ignore[method-assign,assignment]
    return app
