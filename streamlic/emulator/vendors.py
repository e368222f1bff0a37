"""What the integrations sell: products with their code, list price and currency."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

_LEAST_UNUSED = 0.05
_MOST_UNUSED = 0.25


@dataclass(frozen=True)
class Product:
    """A product: its price a month and seat. A free one has no limit of seats."""

    name: str
    code: str
    price: float
    currency: str

    @property
    def unused_share(self) -> float:
        """Which share of its seats is unused, on average over all licenses."""
        place = zlib.crc32(self.name.encode()) / 2**32
        return _LEAST_UNUSED + (_MOST_UNUSED - _LEAST_UNUSED) * place


def _products(currency: str, *products: tuple[str, str, float]) -> tuple[Product, ...]:
    return tuple(Product(name, code, price, currency) for name, code, price in products)


PRODUCTS: dict[str, tuple[Product, ...]] = {
    "microsoft365": _products(
        "USD",
        ("Microsoft 365 E3", "SPE_E3", 36.0),
        ("Microsoft 365 E5", "SPE_E5", 57.0),
        ("Office 365 E1", "STANDARDPACK", 10.0),
        ("Exchange Online (Plan 1)", "EXCHANGESTANDARD", 4.0),
        ("Microsoft 365 Copilot", "Microsoft_365_Copilot", 30.0),
        ("Power BI Pro", "POWER_BI_PRO", 14.0),
        ("Visio Plan 2", "VISIOCLIENT", 15.0),
        ("Project Plan 3", "PROJECTPROFESSIONAL", 30.0),
        ("Entra ID P2", "AAD_PREMIUM_P2", 9.0),
        ("Intune Plan 1", "INTUNE_A", 8.0),
        ("Power Automate Free", "FLOW_FREE", 0.0),
    ),
    "github": _products(
        "USD",
        ("GitHub Team", "team", 4.0),
        ("GitHub Enterprise", "enterprise", 21.0),
        ("GitHub Advanced Security", "advanced_security", 49.0),
        ("GitHub Copilot Business", "copilot_business", 19.0),
        ("GitHub Copilot Enterprise", "copilot_enterprise", 39.0),
        ("GitHub Free", "free", 0.0),
    ),
    "slack": _products(
        "USD",
        ("Slack Pro", "pro", 8.75),
        ("Slack Business+", "business_plus", 18.0),
        ("Slack Enterprise Grid", "enterprise_grid", 31.5),
        ("Slack Guest", "guest", 0.0),
    ),
    "jira": _products(
        "USD",
        ("Jira Standard", "jira-software.standard", 7.53),
        ("Jira Premium", "jira-software.premium", 13.53),
        ("Jira Service Management Premium", "jira-servicedesk.premium", 51.42),
        ("Confluence Standard", "confluence.standard", 5.16),
        ("Jira Product Discovery", "jira-product-discovery.free", 0.0),
    ),
    "google_workspace": _products(
        "EUR",
        ("Google Workspace Business Starter", "1010020027", 6.8),
        ("Google Workspace Business Standard", "1010020028", 13.6),
        ("Google Workspace Business Plus", "1010020025", 20.4),
        ("Google Workspace Enterprise Plus", "1010020020", 29.5),
        ("Cloud Identity Free", "1010010001", 0.0),
    ),
    "clickup": _products(
        "USD",
        ("ClickUp Unlimited", "unlimited", 10.0),
        ("ClickUp Business", "business", 19.0),
        ("ClickUp Enterprise", "enterprise", 29.0),
        ("ClickUp Brain", "brain", 9.0),
        ("ClickUp Guest", "guest", 0.0),
    ),
    "zoom": _products(
        "GBP",
        ("Zoom Workplace Pro", "pro_monthly", 12.99),
        ("Zoom Workplace Business", "biz_monthly", 16.99),
        ("Zoom Phone UK & Ireland Unlimited", "phone_uk_unlimited", 12.0),
        ("Zoom Webinars 500", "webinar_500", 66.0),
        ("Zoom Basic", "basic", 0.0),
    ),
    "webex": _products(
        "USD",
        ("Webex Meetings", "meetings", 14.5),
        ("Webex Suite", "suite", 25.0),
        ("Webex Calling Professional", "calling_professional", 17.0),
        ("Webex Messaging", "messaging", 0.0),
    ),
    "salesforce": _products(
        "EUR",
        ("Sales Cloud Enterprise", "SFDC_ENT", 175.0),
        ("Service Cloud Unlimited", "SFDC_SVC_UE", 330.0),
        ("Salesforce Platform", "SFDC_PLATFORM", 25.0),
        ("Salesforce Integration", "SFDC_INTEGRATION", 10.0),
        ("Chatter Free", "CHATTER_FREE", 0.0),
    ),
    "hubspot": _products(
        "EUR",
        ("HubSpot Core Seat", "core", 45.0),
        ("HubSpot Sales Seat", "sales_professional", 90.0),
        ("HubSpot Service Seat", "service_enterprise", 130.0),
        ("HubSpot View-Only Seat", "view_only", 0.0),
    ),
    "figma": _products(
        "USD",
        ("Figma Full Seat", "full", 20.0),
        ("Figma Dev Seat", "dev", 15.0),
        ("Figma Collab Seat", "collab", 5.0),
        ("Figma View Seat", "view", 0.0),
    ),
    "zendesk": _products(
        "GBP",
        ("Zendesk Suite Team", "suite_team", 45.0),
        ("Zendesk Suite Professional", "suite_professional", 89.0),
        ("Zendesk Suite Enterprise", "suite_enterprise", 135.0),
        ("Zendesk Light Agent", "light_agent", 0.0),
    ),
}
"""What each integration sells, by its name."""

_ODD = [
    Product("Adobe Creative Cloud \u2013 Équipe", "CC_TEAM", 77.99, "EUR"),
    Product("会議室ライセンス", "ROOM_JP", 12.0, "USD"),
    Product("Лицензия «Базовая»", "BASIC", 3.5, "EUR"),
    Product("Café \U0001f600 Plus", "CAFE_PLUS", 9.99, "GBP"),
]
GENERIC: tuple[Product, ...] = (*(one for sold in PRODUCTS.values() for one in sold), *_ODD)
"""What an account without a known integration has: something of everyone, in any script."""


def products_of(integration: str) -> tuple[Product, ...]:
    """Return what an integration sells."""
    return PRODUCTS.get(integration, GENERIC)


TENANTS = (
    "acme", "aldergate", "amberline", "arcadia-foods", "bluefin", "brightwater", "calder-and-sons",
    "cedarworks", "clearpath", "cobalt-labs", "copperfield", "dunmore", "eastbrook", "elmhurst",
    "everline", "fairmont-group", "ferndale", "foxglove", "glenview", "granite-peak", "greenleaf",
    "harborlight", "hawthorn", "helix-bio", "highmark", "ironbridge", "juniper-health", "kestrel",
    "lakeside", "larkspur", "lumen-works", "maplewood", "meridian", "millstone", "northwind",
    "oakhaven", "orchard-street", "pinecrest", "quarry-hill", "redwood", "riverbend", "saltmarsh",
    "silverline", "stonegate", "tamarack", "thornbury", "umber", "westfield", "windmere",
)  # fmt: skip
"""The customers whose accounts these are."""
