import json

from stream.web.routes import faust_view
from stream.web.static_files import FOLDER
from tests.harness.guarded import table

# For a browser or for Prometheus, not for programs.
UNDESCRIBED = {"/", "/page/{name}", "/openapi.json", "/metrics"}


def test_no_path_and_no_view_stands_in_the_table_twice() -> None:
    assert len({route.path for route in table()}) == len({route.view for route in table()}) == len(table())


def test_the_openapi_document_has_every_route_that_programs_use_and_no_other() -> None:
    paths = json.loads((FOLDER / "openapi.json").read_bytes())["paths"]
    described = {path: {method.upper() for method in methods} for path, methods in paths.items()}
    assert described == {route.path: set(route.methods) for route in table() if route.path not in UNDESCRIBED}


def test_a_view_has_its_methods_and_no_others() -> None:
    methods = {route.path: set(vars(faust_view(route))) & {"get", "post"} for route in table()}
    assert methods.pop("/api/events") == methods.pop("/api/rank") == {"post"}
    assert all(of == {"get"} for of in methods.values())
