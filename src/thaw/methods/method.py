"""A method: a ranker, alone or with the zero-shot tower, and with or without behavior dropout."""

from dataclasses import dataclass, replace
from difflib import get_close_matches

from torch import nn

from thaw.errors import MethodError
from thaw.methods.fitted import LLAE, After, Lookalikes, Mean, MetaEmb, Nearest
from thaw.methods.mail import MAIL
from thaw.rankers import RANKERS, RankerFactory

DROPOUT = "+dropout"
DROPOUT_SHARE = 0.3
MACHINE = "+fm"


@dataclass(frozen=True)
class Method:
    """What is trained.

    Attributes:
        name: as reports call it.
        ranker: the name of a ranker, or what builds one of your own.
        mail: MAIL's options; None trains the ranker alone.
        behavior_dropout: the share of old users' rows that training shows as a new user's. Where
            MAIL is calibrated it is times the strength of the epoch before, 0 in the first.
        after: what gives new users behavior without being trained: it is fitted to old users once
            the ranker is. One of yours: anything with its `tower`, see docs/rankers.md.
        fm: whether what a factorization machine of attributes and items says, which is fitted once
            the ranker is trained, is added to new users' log-odds.
    """

    name: str
    ranker: str | RankerFactory = "base-dnn"
    mail: MAIL | None = None
    behavior_dropout: float = 0.0
    after: After | None = None
    fm: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.ranker, str) and self.ranker not in RANKERS:
            raise MethodError(f"no ranker {self.ranker!r}; there are {', '.join(RANKERS)}")
        if isinstance(self.ranker, nn.Module):
            name = type(self.ranker).__name__
            raise MethodError(f"ranker: is a {name}; give what builds one for a shape, as {name}")
        if not isinstance(self.ranker, str) and not callable(self.ranker):
            kind = type(self.ranker).__name__
            raise MethodError(f"ranker: is a {kind}; give a name, or what builds one for a shape")
        if self.mail is not None and not isinstance(self.mail, MAIL):
            raise MethodError(f"mail: is a {type(self.mail).__name__}; give options, as MAIL()")
        if not isinstance(self.behavior_dropout, int | float) or not 0 <= self.behavior_dropout < 1:
            raise MethodError(f"behavior_dropout (={self.behavior_dropout!r}) must be in [0, 1)")
        if self.after is not None and not callable(getattr(self.after, "tower", None)):
            kind = type(self.after).__name__
            raise MethodError(f"after: a {kind} has no `tower` that builds something for a shape")
        if not isinstance(self.fm, bool):
            raise MethodError(f"fm (={self.fm!r}) must be True or False")
        if self.mail is not None and self.after is not None:
            raise MethodError(f"{self.name}: mail and after each see to new users; take one")

    @property
    def for_new_users(self) -> MAIL | After | None:
        """What sees to new users; None where the ranker takes them as they are."""
        return self.mail or self.after

    @property
    def trained(self) -> "Method":
        """What is trained before something is fitted to it: itself where nothing is."""
        return replace(self, after=None, fm=False)

    @property
    def ranker_name(self) -> str:
        """The ranker's name; that of a class or function for one of your own."""
        return (
            self.ranker if isinstance(self.ranker, str) else getattr(self.ranker, "__name__", "own")
        )

    @property
    def factory(self) -> RankerFactory:
        """What builds the ranker."""
        return RANKERS[self.ranker] if isinstance(self.ranker, str) else self.ranker


METHODS = {
    "emblr": Method("emblr", "emblr"),
    "llae": Method("llae", "emblr", after=LLAE()),
    "base-dnn": Method("base-dnn"),
    "meta-emb": Method("meta-emb", after=MetaEmb()),
    "mean-base": Method("mean-base", after=Mean()),
    "nearest-base": Method("nearest-base", after=Nearest()),
    "lookalike-base": Method("lookalike-base", after=Lookalikes()),
    "lookalike-din": Method("lookalike-din", "din", after=Lookalikes()),
    "lookalike-dmr": Method("lookalike-dmr", "dmr", after=Lookalikes()),
    "mail-base": Method("mail-base", mail=MAIL()),
    "mail-base-paper": Method("mail-base-paper", mail=MAIL.paper()),
    "mail-none": Method("mail-none", mail=MAIL(trained_by="none")),
    "mail-single": Method("mail-single", mail=MAIL(trained_by="single")),
    "mail-dual": Method("mail-dual", mail=MAIL(trained_by="dual")),
    "din": Method("din", "din"),
    "mail-din": Method("mail-din", "din", MAIL()),
    "dmr": Method("dmr", "dmr"),
    "mail-dmr": Method("mail-dmr", "dmr", MAIL()),
    "esmm": Method("esmm", "esmm"),
    "mail-esmm": Method("mail-esmm", "esmm", MAIL()),
    "esmm-dmr": Method("esmm-dmr", "esmm-dmr"),
    "mail-esmm-dmr": Method("mail-esmm-dmr", "esmm-dmr", MAIL()),
}


def plain_name(name: str) -> str:
    """Return a name without what may stand behind it: '+dropout', '+fm', or both."""
    return name.removesuffix(MACHINE).removesuffix(DROPOUT)


def method(name: str) -> Method:
    """Return the method of a name; '+dropout' behind it adds behavior dropout.

    '+fm' behind that adds a factorization machine.

    Raises:
        MethodError: for a name that is not known.
    """
    base = plain_name(name)
    if base not in METHODS:
        near = get_close_matches(base, METHODS, n=1)
        known = f"there are {', '.join(METHODS)}, each also with '{DROPOUT}', '{MACHINE}' or both"
        raise MethodError(f"no method {name!r}; {f'did you mean {near[0]}?' if near else known}")
    if base == name:
        return METHODS[base]
    hides = name.removesuffix(MACHINE) != base
    share = DROPOUT_SHARE if hides else 0.0
    return replace(METHODS[base], name=name, behavior_dropout=share, fm=name.endswith(MACHINE))
