import json

from stream.asking.views import AskingViews
from stream.web.api import ApiViews
from stream.web.page import PageViews
from stream.web.routes import Route, faust_view, routes
from stream.web.session import SessionViews
from stream.web.static_files import FOLDER
from stream.web.status import StatusViews

# For a browser or for Prometheus, not for programs.
UNDESCRIBED = {"/", "/page/{name}", "/openapi.json", "/metrics"}


def table() -> tuple[Route, ...]:
    """The routes, their views without a worker."""
    return routes(
        StatusViews.__new__(StatusViews),
        SessionViews.__new__(SessionViews),
        ApiViews.__new__(ApiViews),
        AskingViews.__new__(AskingViews),
        PageViews.__new__(PageViews),
    )


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
