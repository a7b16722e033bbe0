"""Names by which people call the columns of a log, in the languages of shops and of research.

A name is compared without case, blanks, points and underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NAMES = {
    "session": """session sessionid sid sessionkey sessiontoken sessionhash sessionidhash usersession
        visit visitid visitnumber basketid sitzung sitzungid sitzungsid sesion sesionid
        idvisita visita visite idvisite besuch besuchid
        idsesion idsession seance sessao idsessao sessione sessie sessieid sesja сессия
        сеанс 会话 会话id 会话编号 セッション セッションid""",
    "user": """user userid uid userhash username usersha1 customer customerid custid customernumber
        customercode client clientid account accountid member memberid memberno visitor
        visitorid buyer buyerid shopper shopperid reviewerid kunde kundenid kundeid
        kundennummer kundennr nutzer nutzerid benutzer benutzerid usuario usuarioid
        idusuario cliente clienteid idcliente utilisateur utente gebruiker klant klantid
        uzytkownik klient пользователь клиент 用户 用户id 用户编号 客户
        客户编号 ユーザー ユーザーid 顧客id""",
    "item": """item itemid iid product productid pid productcode productsku productnumber sku skuid
        article articleid articlenumber artikel artikelid artikelnr artikelnummer
        articolo articoloid idarticolo codicearticolo codiceprodotto codigoproducto
        referencia reference refproduit
        produkt produktid produktnr producto productoid idproducto articulo idarticulo
        produto produtoid idproduto prodotto idprodotto produit produitid idproduit
        goods goodsid offer offerid asin ean gtin aid track trackid song songid movie
        movieid video videoid content contentid news newsid doc docid documentid
        business businessid venue venueid stockcode listing listingid hotelid
        productskuhash товар товарid артикул 商品 商品id 商品编号 商品编码
        商品コード 商品番号""",
    "time": """time timestamp ts tstamp datetime date dateandtime eventtime eventtimestamp eventdate
        eventts eventtimems timestampms timems servertime clienttime createdat created
        creationtime createtime clickedat clicktime at occurredat occurred happenedat
        when receivedat visitedat viewedat unixtime unixtimestamp epoch epochms
        invoicedate orderdate orderedat purchasedate purchasetime transactiondate zeit
        zeitpunkt zeitstempel datum datumzeit fecha fechahora horodatage data dataora
        quando cuando quand
        datahora momento tijd tijdstip datumtijd czas datetimeutc timestamputc tdat
        время дата датавремя 时间 时间戳 時間 日期 日時""",
    "kind": """kind event eventtype eventname type action actiontype behavior behaviour behaviortype
        behaviourtype interaction interactiontype activity activitytype what aktion
        ereignis ereignistyp ereignisart evento tipo tipoevento accion acao azione
        действие событие тип 行为 行为类型 操作 イベント アクション""",
    "price": """price unitprice itemprice productprice saleprice salesprice listprice preis stueckpreis
        einzelpreis precio prix preco prezzo prijs cena цена 价格 单价 価格 単価""",
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
    viewed visit browse look clickout impression_click ansicht gesehen aufgerufen geklickt klick vista vue
    просмотр
    点击 浏览 查看 閲覧 クリック 表示"""
CARTS = """add add_to_basket basket added cart_add to_cart warenkorb in_den_warenkorb carrito panier carrello
    корзина
    加购 加购物车 加入购物车 购物车 カート"""
PURCHASES = """bought purchased sale sold paid checkout_complete conversion kauf gekauft
    bestellt bestellung bezahlt verkauf verkauft compra comprado achat acheté commande acquisto ordine pedido
    покупка 购买 下单 支付 購入 注文"""
OTHERS = """fav favorite favourite favorites wishlist wish like remove remove_from_cart removefromcart
    delete removed search login logout impression scroll share return refund merken
    收藏 分享 お気に入り"""
KIND_WORDS = {
    word: kind
    for kind, text in (("view", VIEWS), ("cart", CARTS), ("purchase", PURCHASES), ("left out", OTHERS))
    for word in text.split()
}
EXACT, PART = 3, 2
# So many names that logs give to their columns make a header.
LEAST_NAMES = 2


def name_score(role: str, name: str) -> int:
    """How well a name says a role: EXACT, PART where its last or first words do, or 0.

    >>> name_score("item", "Product_ID"), name_score("item", "clicked_sku"), name_score("item", "colour")
    (3, 2, 0)
    >>> name_score("item", "event.product.id"), name_score("price", "Preis (EUR)")
    (3, 3)
    """
    # RecBole writes the type of a column after its name.
    name = name.replace("[]", "").removesuffix(":token").removesuffix(":float")
    # What a value is counted in is often written after a name, price (EUR).
    name = re.sub(r"\s*(\([^()]*\)|（[^（）]*）)\s*$", "", name) or name
    path = name.split(".")
    last = path[-1]
    words = WORDS[role]
    # An id within a record is of what the record is: event.product.id.
    if any(plain_name(one) in words for one in (name, last, "".join(path[-2:]))):
        return EXACT
    parts = [one.lower() for one in re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])", last)]
    endings = {"".join(parts[place:]) for place in range(1, len(parts))}
    return PART if endings & words - {"id", "data", "at", "type", "name"} else 0


def plain_name(name: str) -> str:
    """A name as it is compared.

    >>> plain_name("Product_ID")
    'productid'
    """
    return re.sub(r"[\s._:/-]", "", name).casefold()


def names_in(header: Iterable[str]) -> int:
    """How many names of a header logs give to their columns."""
    return sum(any(name_score(role, name) for role in NAMES) for name in header)
