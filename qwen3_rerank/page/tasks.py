"""Good instructions, one per task, and ready examples.

The instructions follow the pattern of those that Qwen3-Reranker was trained with: "Given a …,
retrieve … that …", in English whatever the language of the texts.
"""

from __future__ import annotations

from dataclasses import dataclass

from qwen3_rerank.page.texts import LANGUAGES, Language, say
from shared_core.prompt import DEFAULT_INSTRUCTION

TASKS: dict[str, tuple[str, str, str]] = {
    "web": ("Web search", "网页搜索", DEFAULT_INSTRUCTION),
    "support": (
        "Customer service",
        "客户服务",
        "Given a customer's question, retrieve the policy passages that answer it",
    ),
    "legal": (
        "Legal",
        "法律",
        "Given a legal question, retrieve the provisions that decide it",
    ),
    "code": (
        "Code search",
        "代码搜索",
        "Given a description of a programming task, retrieve code that does it",
    ),
    "explain": (
        "Code, explained",
        "代码解释",
        "Given a programming question, retrieve passages that explain the answer in words",
    ),
    "bilingual": (
        "Across languages",
        "跨语言",
        "Given a question, retrieve passages in any language that answer it",
    ),
    "fact": (
        "Fact checking",
        "事实核查",
        "Given a claim, retrieve passages that support or refute it",
    ),
    "similar": (
        "Duplicate questions",
        "相似问题",
        "Given a question, retrieve questions that ask the same thing",
    ),
    "medical": (
        "Medical",
        "医学",
        "Given a medical question, retrieve passages that answer it with evidence",
    ),
    "product": (
        "Product search",
        "商品搜索",
        "Given a shopper's search, retrieve products that fit every wish in it",
    ),
}


OWN = "own"
"""The choice of who wrote an instruction of their own."""


def task_choices(language: Language) -> list[tuple[str, str]]:
    """Return name and instruction of every task, and `OWN`."""
    place = LANGUAGES.index(language)
    choices = [(task[place], task[2]) for task in TASKS.values()]
    return [*choices, (say("own_task", language), OWN)]


def task_of(instruction: str) -> str:
    """Return the choice that an instruction belongs to.

    >>> task_of("Given a claim, retrieve passages that support or refute it ")
    'Given a claim, retrieve passages that support or refute it'
    >>> task_of("Find it")
    'own'
    """
    written = instruction.strip()
    return written if any(written == task[2] for task in TASKS.values()) else OWN


@dataclass(frozen=True, slots=True)
class Example:
    """A question with documents, in each language.

    Attributes:
        names: The text of the button, in English and in Chinese.
        task, second_task: The names of two tasks to see it under.
        queries, documents: In English and in Chinese; documents are paragraphs.
    """

    names: tuple[str, str]
    task: str
    second_task: str
    queries: tuple[str, str]
    documents: tuple[tuple[str, ...], tuple[str, ...]]


_MERCURY = (
    "Mercury is the smallest planet and the one closest to the Sun.",
    "水星是太阳系中最小的行星。",
    "The metal mercury is liquid at room temperature; it freezes at −39 °C.",
    "Freddie Mercury was the singer of the band Queen.",
    "汞俗称水银，凝固点约为零下 39 摄氏度。",
    "Water freezes at 0 °C and boils at 100 °C.",
)

EXAMPLES: dict[str, Example] = {
    "support": Example(
        ("Customer service", "客户服务"),
        "support",
        "similar",
        ("Who pays for sending back a jacket that does not fit?", "衣服不合身，退货运费谁出？"),
        (
            (
                "We ship orders within two working days, from our store in Leeds.",
                "How long does a refund take to arrive?",
                "If the size is wrong, return the item within 30 days; the buyer pays the postage.",
                "Jackets should be washed at 30 degrees with the zip closed.",
                "If an item is faulty, we pay for the return and send a new one.",
                "You can pay by card, by bank transfer or with a gift voucher.",
                "Do I have to pay for the parcel if I send clothes back?",
            ),
            (
                "订单在两个工作日内从杭州仓库发出。",
                "退款一般多久到账？",
                "如因尺码不合适退货，请在签收后 30 天内寄回，运费由买家承担。",
                "外套请拉好拉链，用 30 度以下的水清洗。",
                "商品存在质量问题的，退货运费由我们承担，并免费更换。",
                "支持银行卡、转账和礼品卡支付。",
                "衣服寄回去要我自己付快递费吗？",
            ),
        ),
    ),
    "legal": Example(
        ("Legal", "法律"),
        "legal",
        "web",
        (
            "May a landlord raise the rent during a fixed term?",
            "租赁期内房东可以涨房租吗？",
        ),
        (
            (
                "The tenant shall keep the premises clean and report any damage at once.",
                "During a fixed term the rent may not be increased unless the agreement itself "
                "provides for it.",
                "The deposit is returned within ten days after the end of the tenancy.",
                "Rents in the capital have risen by a third in five years, a survey says.",
                "After the fixed term, the landlord may propose a new rent with two months' "
                "notice in writing.",
                "The landlord may enter the premises after giving 24 hours' notice.",
            ),
            (
                "承租人应当保持房屋整洁，发现损坏及时通知出租人。",
                "在约定的租赁期限内，除合同另有约定外，出租人不得单方提高租金。",
                "押金应当在租赁关系终止后十日内退还。",
                "调查显示，五年来首都的房租上涨了三分之一。",
                "租赁期限届满后，出租人可以提前两个月书面提出新的租金。",
                "出租人进入房屋应当提前二十四小时通知承租人。",
            ),
        ),
    ),
    "code": Example(
        ("Code search", "代码搜索"),
        "code",
        "explain",
        ("sort a list of dicts by a key", "按某个键给字典列表排序"),
        (
            (
                "The ball python sorts through scents with its forked tongue to find prey.",
                "def by_key(rows, key):\n    return sorted(rows, key=lambda row: row[key])",
                "sorted() takes a function that returns what to compare, so a list of dicts is "
                "sorted by giving one that looks up the key.",
                "def read_rows(path):\n    with open(path) as file:\n"
                "        return list(csv.DictReader(file))",
                "A dict keeps its keys in the order in which they were inserted.",
                "const byKey = (rows, key) => [...rows].sort((a, b) => a[key] < b[key] ? -1 : 1);",
            ),
            (
                "球蟒用分叉的舌头辨别气味，寻找猎物。",
                "def by_key(rows, key):\n    return sorted(rows, key=lambda row: row[key])",
                "sorted() 接受一个返回比较值的函数，给它一个取键的函数就能给字典列表排序。",
                "def read_rows(path):\n    with open(path) as file:\n"
                "        return list(csv.DictReader(file))",
                "字典会保持键的插入顺序。",
                "const byKey = (rows, key) => [...rows].sort((a, b) => a[key] < b[key] ? -1 : 1);",
            ),
        ),
    ),
    "bilingual": Example(
        ("Two languages", "中英混合"),
        "bilingual",
        "web",
        ("At what temperature does mercury freeze?", "水银在多少度凝固？"),
        (_MERCURY, _MERCURY),
    ),
}
