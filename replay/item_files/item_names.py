"""Names by which shops call the columns of their files of items, the usual ones first.

Tested by tests/unit/replay/item_files/test_item_guess.py.
"""

from __future__ import annotations

import re

from replay.mappings.role_names import NAMES, plain_name

# Names that decide alone, as they always did.
USUAL = {
    "item": ("item_id", "item", "id", "sku"),
    "available_from": ("available_from", "available_from_ms"),
    "available_until": ("available_until", "available_until_ms"),
}
MORE = {
    "item": "variantsku handle",
    "title": "titulo bezeichnungde",
    "brand": "vendor marke make",
    "category": "producttype googleproductcategory categories productcategory kategorien warengruppen",
    "price": "regularprice variantprice currentprice bruttopreis verkaufspreis preiseur priceeur",
    "available": """availability isavailable instock isinstock stockstatus stock stockquantity stocklevel
        inventory inventoryquantity variantinventoryqty lagerbestand bestand lieferbar verfuegbar verfügbar
        verfuegbarkeit verfügbarkeit disponible disponibile disponivel disponibilite disponibilidad
        disponibilita stan наличие 库存 在庫""",
    "available_from": "availablefromms availabilitydate availablesince verfuegbarab verfügbarab lieferbarab",
    "available_until": "availableuntilms availableto expirationdate verfuegbarbis verfügbarbis lieferbarbis",
    "image": """imageurl imagelink imagesrc imageuri img imgurl picture pictureurl photo photourl thumbnail
        thumbnailurl images bild bildurl bildlink foto 图片 画像""",
    "url": "link producturl productlink itemurl permalink href deeplink webseite produktlink produkturl",
}
WORDS = {
    name: list(dict.fromkeys([
        *map(plain_name, USUAL.get(name, (name,))), *NAMES.get(name, "").split(), *MORE.get(name, "").split(),
    ]))
    for name in dict.fromkeys([*MORE, *USUAL])
}  # fmt: skip


def name_rank(field: str, column: str) -> int | None:
    """How far down the list of names for a field a column's name stands; None where it is none.

    >>> name_rank("title", "Title"), name_rank("title", "colour"), name_rank("url", "product.link")
    (0, None, 1)
    """
    # What stands in a list is named as if it stood alone.
    column = re.sub(r"^.*\[\]\.", "", column).replace("[]", "")
    column = re.sub(r"\s*(\([^()]*\)|（[^（）]*）)\s*$", "", column) or column
    path = column.removesuffix("?").split(".")
    words = WORDS[field]
    plain = [plain_name(one) for one in (".".join(path), "".join(path[-2:]))]
    # An id within a record is of what the record is: brand.id.
    plain += [] if plain_name(path[-1]) == "id" else [plain_name(path[-1])]
    return min((words.index(one) for one in plain if one in words), default=None)
