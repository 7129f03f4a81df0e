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
        answers, second_answers: The places of the documents that are right under each task.
    """

    names: tuple[str, str]
    task: str
    second_task: str
    queries: tuple[str, str]
    documents: tuple[tuple[str, ...], tuple[str, ...]]
    answers: tuple[int, ...]
    second_answers: tuple[int, ...]


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
        ("Who pays the postage if a jacket does not fit?", "衣服不合身，退货运费谁出？"),
        (
            (
                "We ship orders within two working days, from our store in Leeds.",
                "How long does a refund take to arrive?",
                "If the size does not fit, send it back within 30 days; the buyer pays the "
                "postage.",
                "Jackets should be washed at 30 degrees with the zip closed.",
                "If an item is faulty, the return is free and we send a new one.",
                "You can pay by card, by bank transfer or with a gift voucher.",
                "Do I have to pay for the parcel when clothes are too small?",
            ),
            (
                "订单在两个工作日内从杭州仓库发出。",
                "退款一般多久到账？",
                "衣服尺码不合身，可在签收后 30 天内退货，运费由买家承担。",
                "外套请拉好拉链，用 30 度以下的水清洗。",
                "商品有质量问题的，由我们承担往返费用并免费更换。",
                "支持银行卡、转账和礼品卡支付。",
                "衣服小了，寄回去的快递费要我自己付吗？",
            ),
        ),
        answers=(2,),
        second_answers=(6,),
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
                "During a fixed term the landlord may not raise the rent, unless the agreement "
                "provides for it.",
                "The deposit is returned within ten days after the end of the tenancy.",
                "Rents in the capital have risen by a third in five years, a survey says.",
                "Once the tenancy has ended, a new rent may be proposed in writing with two "
                "months' notice.",
                "The landlord may enter the premises after giving 24 hours' notice.",
            ),
            (
                "承租人应当保持房屋整洁，发现损坏及时通知出租人。",
                "租赁期内，除合同另有约定外，房东不得单方上涨房租。",
                "押金应当在租赁关系终止后十日内退还。",
                "调查显示，五年来首都的租金上升了三分之一。",
                "合同到期后，出租人可以提前两个月书面提出新的租金。",
                "出租人进入房屋应当提前二十四小时通知承租人。",
            ),
        ),
        answers=(1,),
        second_answers=(1,),
    ),
    "code": Example(
        ("Code search", "代码搜索"),
        "code",
        "explain",
        ("sort a list of dicts by a key", "按某个键给字典列表排序"),
        (
            (
                "The ball python sorts through scents with its forked tongue to find prey.",
                "def sort_dicts_by_key(dicts, key):\n"
                "    return sorted(dicts, key=lambda row: row[key])",
                "Give sorted() a function that looks up the value to compare: a lambda, or "
                "operator.itemgetter with the key.",
                "def read_rows(path):\n    with open(path) as file:\n"
                "        return list(csv.DictReader(file))",
                "A dict keeps its entries in the order in which they were inserted.",
                "def total(prices):\n    return sum(price for price in prices if price > 0)",
            ),
            (
                "球蟒用分叉的舌头辨别气味，寻找猎物。",
                "# 按键给字典列表排序\ndef sort_dicts_by_key(dicts, key):\n"
                "    return sorted(dicts, key=lambda row: row[key])",
                "给 sorted() 传一个取键的函数，就能让字典按这个键的值排列。",
                "# 读取 CSV 的每一行\ndef read_rows(path):\n    with open(path) as file:\n"
                "        return list(csv.DictReader(file))",
                "字典会保持元素插入的先后顺序。",
                "# 求正数价格的总和\ndef total(prices):\n"
                "    return sum(price for price in prices if price > 0)",
            ),
        ),
        answers=(1,),
        second_answers=(2,),
    ),
    "bilingual": Example(
        ("Two languages", "中英混合"),
        "bilingual",
        "web",
        ("At what temperature does mercury freeze?", "水银在多少度凝固？"),
        (_MERCURY, _MERCURY),
        answers=(2, 4),
        second_answers=(2, 4),
    ),
}
