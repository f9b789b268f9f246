"""The Taobao/Alimama display advertising data, the paper's public data set, from its own files.

Impressions of eight days, the last of which tests; behavior of 22 days. Behavior knows no ads: an
event is a category and a brand with an action, and these share their vocabularies with the ads'.
Days are those of China, where the users were.
"""

import ibis
from ibis.expr import types as ir

from thaw.datasets.alimama_files import simulate
from thaw.datasets.alimama_world import FIRST_SECOND, LAST_SECOND, TEST_SECOND
from thaw.datasets.known import Known
from thaw.schema import (
    CsvOptions,
    Events,
    Field,
    Impressions,
    Items,
    PaperRule,
    Schema,
    Task,
    TimeSplit,
    Users,
)

CHINA_SECONDS = 8 * 3600
"""What local time is ahead of UTC."""

NULLS = CsvOptions(null_values=("NULL",))


def schema() -> Schema:
    """The paper's setting: nine user attributes, six item features, four of context."""
    return Schema(
        name="alimama",
        users=Users(
            files="user_profile.csv",
            key="userid",
            complete=True,
            attributes=(
                "cms_segid",
                "cms_group_id",
                "final_gender_code",
                "age_level",
                "pvalue_level",
                "shopping_level",
                "occupation",
                "new_user_class_level",
            ),
        ),
        items=Items(
            files="ad_feature.csv",
            csv=NULLS,
            key="adgroup_id",
            features=(
                "cate_id",
                "campaign_id",
                "customer",
                "brand",
                Field(name="log_price", kind="dense"),
            ),
        ),
        impressions=Impressions(
            files="raw_sample.csv",
            user="user",
            item="adgroup_id",
            time="time_stamp",
            context=("pid", "weekday", "is_weekend", "hour"),
        ),
        events=Events(
            files="*behavior_log.csv",
            csv=NULLS,
            user="user",
            time="time_stamp",
            fields=(Field(name="cate", shares="cate_id"), "brand"),
            action="btag",
        ),
        tasks=(Task(name="click", column="clk"),),
        split=TimeSplit(rule="time", test_from=TEST_SECOND),
        new_users=PaperRule(rule="paper", share=0.4),
    )


def derive(name: str, rows: ir.Table) -> ir.Table:
    """Add the columns that the files hold in another form; tell impossible times and prices."""
    if name == "impressions":
        return _with_context(rows)
    if name == "items":
        return _with_log_price(rows)
    return _in_time(rows) if name == "events" else rows


def _with_context(rows: ir.Table) -> ir.Table:
    moment = (rows.time_stamp.try_cast("int64") + CHINA_SECONDS).as_timestamp("s")
    weekday = moment.day_of_week.index()  # Monday is 0
    return rows.mutate(weekday=weekday, is_weekend=(weekday >= 5).cast("int8"), hour=moment.hour())


def _with_log_price(rows: ir.Table) -> ir.Table:
    """Prices span powers of ten; a negative one has no logarithm."""
    price = rows.price.try_cast("float64")
    is_price = (price >= 0).fill_null(False)
    rows = rows.mutate(log_price=ibis.ifelse(is_price, price + 1, 1).ln().nullif(0))
    return _faulty(rows, rows.price.notnull() & ~is_price, "price", "is no price")


def _in_time(rows: ir.Table) -> ir.Table:
    """An event dated years too early would pass as the oldest behavior."""
    seconds = rows.time_stamp.try_cast("int64")
    is_outside = ~seconds.between(FIRST_SECOND, LAST_SECOND)
    told = "lies outside of the log's days, 2017-04-22 to 2017-05-13"
    return _faulty(rows, is_outside, "time_stamp", told)


def _faulty(rows: ir.Table, is_fault: ir.BooleanValue, column: str, told: str) -> ir.Table:
    """Mark rows as rejects."""
    reason = ibis.literal(f"{column}: '") + rows[column] + f"' {told}"
    fault = ibis.ifelse(is_fault, reason, ibis.null(str))
    return rows.mutate(_fault=ibis.coalesce(rows._fault, fault))


ALIMAMA = Known(
    name="alimama",
    about="the paper's public data set: 26,557,961 impressions of 846,811 ads on Taobao to "
    "1,141,729 users, and 723,268,134 events",
    schema=schema,
    source="https://tianchi.aliyun.com/dataset/56",
    unpack="unpack raw_sample.csv, ad_feature.csv, user_profile.csv and behavior_log.csv (in some "
    "copies raw_behavior_log.csv)",
    licence="CC BY-NC-SA 4.0",
    files=("raw_sample.csv", "ad_feature.csv", "user_profile.csv", "*behavior_log.csv"),
    derive=derive,
    simulate=simulate,
    scale=0.01,
)
