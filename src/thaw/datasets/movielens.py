"""MovieLens-1M and MovieLens-100K from GroupLens' own files.

A click is a rating of 4 or more; behavior is the user's earlier ratings, with the action 'liked' or
'not liked'. The test split is the last fifth by time. Context is the hour and the day of the week:
nothing finer, because gaps between ratings say more of the collection than of the user.
"""

import ibis
from ibis.expr import types as ir

from thaw.datasets.known import Known
from thaw.schema import (
    CsvOptions,
    Events,
    Impressions,
    Items,
    PaperRule,
    Schema,
    Task,
    TimeSplit,
    Users,
)

LIKED_FROM = 4
LICENCE = "research use, no redistribution, no commercial use (its README)"
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip


def schema_1m() -> Schema:
    """The schema of MovieLens-1M."""
    text = {"delimiter": "::", "quote": "", "encoding": "latin-1"}
    people = ("user_id", "gender", "age", "occupation", "zip")
    ratings = ("user_id", "movie_id", "rating", "time")
    return _schema(
        "movielens-1m",
        users=("users.dat", CsvOptions(columns=people, **text)),
        items=("movies.dat", CsvOptions(columns=("movie_id", "title", "genres"), **text)),
        ratings=("ratings.dat", CsvOptions(columns=ratings, **text)),
    )


def schema_100k() -> Schema:
    """The schema of MovieLens-100K."""
    bars = {"delimiter": "|", "quote": "", "encoding": "latin-1"}
    flags = tuple(f"is {genre}" for genre in GENRES_100K)
    people = ("user_id", "years", "gender", "occupation", "zip")
    titles = ("movie_id", "title", "released", "video", "url", *flags)
    ratings = ("user_id", "movie_id", "rating", "time")
    return _schema(
        "movielens-100k",
        users=("u.user", CsvOptions(columns=people, **bars)),
        items=("u.item", CsvOptions(columns=titles, **bars)),
        ratings=("u.data", CsvOptions(columns=ratings, delimiter="\t", quote="")),
    )


def _schema(
    name: str,
    users: tuple[str, CsvOptions],
    items: tuple[str, CsvOptions],
    ratings: tuple[str, CsvOptions],
) -> Schema:
    return Schema(
        name=name,
        users=Users(
            files=users[0],
            csv=users[1],
            key="user_id",
            attributes=("gender", "age", "occupation", "zip_area"),
        ),
        items=Items(
            files=items[0], csv=items[1], key="movie_id", features=("genres", "first_genre", "year")
        ),
        impressions=Impressions(
            files=ratings[0],
            csv=ratings[1],
            user="user_id",
            item="movie_id",
            time="time",
            context=("hour", "weekday"),
        ),
        events=Events(
            table="impressions",
            user="user_id",
            time="time",
            item="movie_id",
            fields=("movie_id", "genres"),
            action="opinion",
        ),
        tasks=(Task(name="click"),),
        split=TimeSplit(rule="time", test_share=0.2),
        new_users=PaperRule(rule="paper"),
    )


def derive(name: str, rows: ir.Table) -> ir.Table:
    """Add the columns that the files hold in another form."""
    if name == "impressions":
        return _ratings(rows)
    if name == "items":
        return _movies(rows)
    rows = rows.mutate(zip_area=rows.zip.substr(0, 3))
    if "years" in rows.columns:
        decade = (rows.years.try_cast("int64") // 10 * 10).cast("string")
        rows = rows.mutate(age=decade)
    return rows


def _ratings(rows: ir.Table) -> ir.Table:
    rating = rows.rating.try_cast("float64")
    is_liked = rating >= LIKED_FROM
    moment = rows.time.try_cast("int64").as_timestamp("s")
    return rows.mutate(
        click=ibis.ifelse(rating.between(1, 5), is_liked.cast("int8"), ibis.null("int8")),
        opinion=ibis.ifelse(is_liked, "liked", "not liked"),
        hour=moment.hour(),
        weekday=moment.day_of_week.index(),
    )


def _movies(rows: ir.Table) -> ir.Table:
    if "genres" not in rows.columns:
        shown = [ibis.ifelse(rows[f"is {genre}"] == "1", f"{genre}|", "") for genre in GENRES_100K]
        genres = shown[0]
        for text in shown[1:]:
            genres = genres + text
        rows = rows.mutate(genres=genres)
    first = rows.genres.split("|")[0]
    return rows.mutate(first_genre=first, year=rows.title.re_extract(r"\((\d{4})\)", 1))


MOVIELENS_1M = Known(
    name="movielens-1m",
    about="1,000,209 ratings of 3,883 movies by 6,040 users with gender, age and occupation",
    schema=schema_1m,
    source="https://grouplens.org/datasets/movielens/1m/",
    unpack="unpack ml-1m.zip",
    licence=LICENCE,
    files=("ratings.dat", "users.dat", "movies.dat"),
    derive=derive,
)
MOVIELENS_100K = Known(
    name="movielens-100k",
    about="100,000 ratings of 1,682 movies by 943 users with gender, age and occupation",
    schema=schema_100k,
    source="https://grouplens.org/datasets/movielens/100k/",
    unpack="unpack ml-100k.zip",
    licence=LICENCE,
    files=("u.data", "u.user", "u.item"),
    derive=derive,
)
