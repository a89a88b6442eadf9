"""The export module's API on a database, for tests and measures: what gn_module_export 1.8.2 does with a request, by the
query classes that it uses itself (utils-flask-sqlalchemy-geo). Rights by token or public; no accounts.

    FLASK_SQLALCHEMY_DB=server.db python server.py URI [CAP]

Listens on a port of the loopback and prints it. CAP is max_page_size_api.
"""

import logging
import sys

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text
from werkzeug.exceptions import Forbidden, HTTPException, InternalServerError, NotFound, Unauthorized
from werkzeug.serving import make_server

db = SQLAlchemy()
# The classes look for `server.db`, also when this file is the program.
sys.modules.setdefault("server", sys.modules[__name__])

from utils_flask_sqla.response import json_resp, to_json_resp  # noqa: E402
from utils_flask_sqla_geo.generic import GenericQueryGeo  # noqa: E402

DEFAULT_PAGE_SIZE = 1000

EXPORT = text(
    """SELECT x.schema_name, x.view_name, x.view_pk_column, x.geometry_field, x.public, l.name_licence, l.url_licence,
              ARRAY(SELECT c.token FROM gn_exports.cor_exports_roles c WHERE c.id_export = x.id) AS tokens
       FROM gn_exports.t_exports x JOIN gn_exports.t_licences l USING (id_licence)
       WHERE x.id = :id"""
)


def export_page(id_export):
    limit = request.args.get("limit", default=DEFAULT_PAGE_SIZE, type=int)
    offset = request.args.get("offset", default=0, type=int)
    token = request.args.get("token") or request.headers.get("api-key")
    export = db.session.execute(EXPORT, {"id": id_export}).one_or_none()
    if export is None:
        raise NotFound()
    if not export.public and token not in export.tokens:
        raise Forbidden()
    limit = min(limit, app.config["MAX_PAGE_SIZE"])
    filters = {name: value for name, value in request.args.to_dict().items() if name not in ("limit", "offset", "token")}
    filters.setdefault("orderby", export.view_pk_column)
    query = GenericQueryGeo(
        db, export.view_name, export.schema_name, filters, limit, offset, export.geometry_field
    )
    data = query.as_geofeature() if export.geometry_field else query.return_query()
    data["license"] = {"name": export.name_licence, "href": export.url_licence}
    return data


def modules():
    raise Unauthorized()


def failed(error):
    if not isinstance(error, HTTPException):
        logging.exception("a request failed")
        error = InternalServerError()
    return to_json_resp(
        {"code": error.code, "name": error.name, "description": error.description}, status=error.code
    )


app = Flask(__name__)
app.add_url_rule("/api/exports/api/<int:id_export>", view_func=json_resp(export_page))
app.add_url_rule("/api/gn_commons/modules", view_func=modules)
app.register_error_handler(Exception, failed)

if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app.config["SQLALCHEMY_DATABASE_URI"] = sys.argv[1]
    app.config["MAX_PAGE_SIZE"] = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    db.init_app(app)
    with app.app_context():
        server = make_server("127.0.0.1", 0, app, threaded=True)
        print(server.port, flush=True)
    server.serve_forever()
