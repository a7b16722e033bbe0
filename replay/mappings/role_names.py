"""Names by which people call the columns of a log, in the languages of shops and of research.

A name is compared without case, blanks, points and underscores.
"""

from __future__ import annotations

import re

NAMES = {
    "session": """session sessionid sid sessionkey sessiontoken sessionhash sessionidhash usersession
        visit visitid visitnumber basketid sitzung sitzungid sitzungsid sesion sesionid
        idvisita visita visite idvisite besuch besuchid
        idsesion idsession seance sessao idsessao sessione sessie sessieid sesja сессия
        сеанс 会话 会话id セッション""",
    "user": """user userid uid userhash username usersha1 customer customerid custid customernumber
        customercode client clientid account accountid member memberid memberno visitor
        visitorid buyer buyerid shopper shopperid reviewerid kunde kundenid kundeid
        kundennummer kundennr nutzer nutzerid benutzer benutzerid usuario usuarioid
        idusuario cliente clienteid idcliente utilisateur utente gebruiker klant klantid
        uzytkownik klient пользователь клиент 用户 用户id ユーザー""",
    "item": """item itemid iid product productid pid productcode productsku productnumber sku skuid
        article articleid articlenumber artikel artikelid artikelnr artikelnummer
        articolo articoloid idarticolo codicearticolo codiceprodotto codigoproducto
        referencia reference refproduit
        produkt produktid produktnr producto productoid idproducto articulo idarticulo
        produto produtoid idproduto prodotto idprodotto produit produitid idproduit
        goods goodsid offer offerid asin ean gtin aid track trackid song songid movie
        movieid video videoid content contentid news newsid doc docid documentid
        business businessid venue venueid stockcode listing listingid hotelid
        productskuhash товар товарid артикул 商品 商品id""",
    "time": """time timestamp ts tstamp datetime date dateandtime eventtime eventtimestamp eventdate
        eventts eventtimems timestampms timems servertime clienttime createdat created
        creationtime createtime clickedat clicktime at occurredat occurred happenedat
        when receivedat visitedat viewedat unixtime unixtimestamp epoch epochms
        invoicedate orderdate orderedat purchasedate purchasetime transactiondate zeit
        zeitpunkt zeitstempel datum datumzeit fecha fechahora horodatage data dataora
        quando cuando quand
        datahora momento tijd tijdstip datumtijd czas datetimeutc timestamputc tdat
        время дата датавремя 时间 時間 日期 日時""",
    "kind": """kind event eventtype eventname type action actiontype behavior behaviour behaviortype
        behaviourtype interaction interactiontype activity activitytype what aktion
        ereignis ereignistyp ereignisart evento tipo tipoevento accion acao azione
        действие событие тип 行为 行为类型 イベント""",
    "price": """price unitprice itemprice productprice saleprice salesprice listprice preis stueckpreis
        einzelpreis precio prix preco prezzo prijs cena цена 价格 価格 単価""",
    "brand": "brand brandid brandname manufacturer marke hersteller marca marque merk бренд 品牌 ブランド",
    "category": """category categoryid categorycode categoryname categorypath cat catid department
        kategorie warengruppe categoria categorie kategoria категория 类别 类目 カテゴリ""",
    "title": """title name itemname itemtitle productname producttitle description productdescription
        titel bezeichnung produktname nombre titulo nom libelle название 名称 商品名""",
}  # fmt: skip
WORDS = {role: frozenset(text.split()) for role, text in NAMES.items()}
# What the values of a column of kinds mean, beside the words that every log is read by.
VIEWS = """visto visualizzazione visualizacion visualizacao consultation angesehen aufruf
    pv pageview page_view detail detail_view product_view productview product_detail view_item
    viewed visit browse look clickout impression_click ansicht klick vista vue просмотр"""
CARTS = "add add_to_basket basket added cart_add to_cart warenkorb carrito panier carrello корзина"
PURCHASES = "bought purchased sale sold paid checkout_complete conversion kauf compra achat acquisto покупка"
OTHERS = """fav favorite favourite favorites wishlist wish like remove remove_from_cart removefromcart
    delete removed search login logout impression scroll share return refund merken"""
KIND_WORDS = {
    word: kind
    for kind, text in (("view", VIEWS), ("cart", CARTS), ("purchase", PURCHASES), ("left out", OTHERS))
    for word in text.split()
}
EXACT, PART = 3, 2


def name_score(role: str, name: str) -> int:
    """How well a name says a role: EXACT, PART where its last or first words do, or 0.

    >>> name_score("item", "Product_ID"), name_score("item", "clicked_sku"), name_score("item", "colour")
    (3, 2, 0)
    """
    # RecBole writes the type of a column after its name.
    name = name.replace("[]", "").removesuffix(":token").removesuffix(":float")
    last = name.rsplit(".", 1)[-1]
    words = WORDS[role]
    if any(_plain(one) in words for one in (name, last)):
        return EXACT
    parts = [one.lower() for one in re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])", last)]
    endings = {"".join(parts[place:]) for place in range(1, len(parts))}
    return PART if endings & words - {"id", "data", "at", "type", "name"} else 0


def _plain(name: str) -> str:
    return re.sub(r"[\s._:/-]", "", name).casefold()
