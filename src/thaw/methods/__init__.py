"""What can be trained and compared: rankers as they are, and MAIL on top of them."""

from thaw.methods.fitted import LLAE, After, Lookalikes, Mean, MetaEmb, Nearest
from thaw.methods.mail import MAIL
from thaw.methods.method import METHODS, Method, method

__all__ = [
    "LLAE",
    "MAIL",
    "METHODS",
    "After",
    "Lookalikes",
    "Mean",
    "MetaEmb",
    "Method",
    "Nearest",
    "method",
]
