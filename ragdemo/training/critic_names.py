"""What the critic has never heard of: names of many makes, subjects outside the world, other languages, symbols.

None of it is among the prompts that measure it later (`ragdemo.foreign`), nor within one edit of their names.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from ragdemo.foreign import is_reserved
from ragdemo.training.names import CONSONANTS, VOWELS, made_up_word
from ragdemo.world.kinds import KINDS
from ragdemo.world.species import by_name

LONGEST_WORD = 14
# Onsets, vowels and endings of several languages; none is a rule of the world's own names.
SYLLABLES = (
    ("k s t n h m y r w g z d b", "a i u e o", "n"),  # Japanese
    ("b c d f g l m n p r s t v gn sc", "a e i o u", "no ra tto lli ssa"),  # Italian
    ("sch w st k br fr gl z pf", "a ei au u ie", "mann berg heim stein ler"),  # German
    ("k v p t l s h m r j", "a aa i ii u uu e ö y", "nen la kko ri"),  # Finnish
    ("cz sz w k r st z b p", "a e i o y", "ski wicz ka nia"),  # Polish
    ("kh m b th s r sh g n d", "a aa i u", "ra sh nd van pur"),  # Hindi
    ("x zh q sh ch t l g h", "ao ei iu an ang ong", "g n u"),  # Chinese
    ("mb nd k t z sh ng w", "a e i o u", "wa ni ko za"),  # Swahili
    ("h k l m n p w", "a e i o u", "lani kea nui"),  # Hawaiian
    ("d f gw ll rh c tr", "a e w y", "edd wyn ech on"),  # Welsh
)
BRAND_ENDS = "ify ly io ix co tek max on era ex zo soft lab net ity vue go".split()
TITLES = "new old saint port big great upper lower fort mount".split()
ABROAD = "bdfghklmnprstvz" + "aeiouäöüéèáóíñçşğåøłžšč"
ALPHABETS = (
    "абвгдежзиклмнопрстуфхцчшыьэюя",
    "αβγδεζηθικλμνξοπρστυφχψω",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "अआइईउकखगचजटडतदनपबमयरलवसह",
    "あいうえおかきくけこさしすせそたちつてとなにのはひふへまみむもやゆよらりるれろ",
    "山水日月火木金土人大小中上下空雨花鳥風林石田川口目手足",
    "가나다라마바사아자차카타파하고노도로모보소오조초",
)
SIGNS = "!?.,;:…-_+=*/#%&@<>()[]{}~^|§±×÷→←★☆♥♪🙂🚲🌵🎸🍕🐙🦊🌋🧩🎃"
# Everyday things that the world does not have.
OUTSIDE = """
pencil eraser ruler notebook envelope stamp scissors stapler calendar drawer cupboard curtain carpet pillow
blanket towel soap sponge bucket broom vacuum kettle saucepan bowl mug bottle jar napkin straw pepper salt sugar
flour butter yoghurt salad soup noodle taco burrito pancake waffle muffin pretzel popcorn chocolate candy grape
cherry peach pear plum mango melon coconut onion garlic tomato cucumber pea bean corn cabbage spinach almond
walnut otter badger beaver seal walrus ostrich flamingo pelican hamster ferret donkey buffalo bison antelope
hippo rhino lizard gecko toad shark eel squid shrimp oyster worm spider scorpion ant bee wasp mosquito cricket
knee elbow shoulder finger nose ear mouth hair beard glasses scarf belt sock boot sandal shirt trousers skirt
coat raincoat uniform helmet mask wallet key lock door window roof chimney fence gate path tunnel canal dam
quarry mine office shop market bakery library museum theatre cinema temple mosque church monastery palace hut
cabin crane bulldozer excavator forklift van lorry coach tricycle wheelchair sled canoe kayak raft ferry airship
glider parachute satellite cello flute clarinet oboe trombone tuba banjo xylophone accordion metronome wrench
pliers saw drill bolt screw rope chain hook anchor tyre engine valve battery bulb lantern torch lighter
candlestick vase basket barrel crate fountain bench swing slide seesaw sandpit hammock goalkeeper referee swimmer
cyclist skier boxer juggler magician farmer fisherman baker butcher tailor barber plumber electrician painter
sculptor poet singer actor scientist engineer pilot sailor prisoner beggar monk priest witch fairy giant ogre
troll elf dwarf goblin centaur phoenix griffin yeti alien
""".split()
QUALITIES = (
    "big small old tiny lovely strange wooden broken shiny funny fluffy grey silver tall dirty empty".split()
)


def unheard_words(rng: Random) -> str:
    """A name that no picture carries, of one word or several, and of any make."""
    name = _unreserved(rng)
    chance = rng.random()
    if chance < 0.08:
        return f"{rng.choice(TITLES)} {name}"
    return f"{name} {_unreserved(rng)}" if chance < 0.14 else name


def outside_subject(rng: Random) -> str:
    """A thing that the world does not have."""
    noun = rng.choice(OUTSIDE) if rng.random() < 0.7 else _unreserved(rng)
    return f"{rng.choice(QUALITIES)} {noun}" if rng.random() < 0.3 else noun


def foreign_text(rng: Random) -> str:
    """Words of a language that nobody here reads, or symbols alone."""
    if rng.random() < 0.3:
        return "".join(rng.choice(SIGNS) for _ in range(rng.randint(1, 6)))
    letters = rng.choice((ABROAD, ABROAD, *ALPHABETS))
    words = ("".join(rng.choice(letters) for _ in range(rng.randint(2, 9))) for _ in range(rng.randint(2, 6)))
    return " ".join(words)


def _unreserved(rng: Random) -> str:
    makes: tuple[Callable[[Random], str], ...] = (
        made_up_word,
        made_up_word,
        _syllables,
        _syllables,
        _brand,
        _letters,
    )
    while True:
        word = rng.choice(makes)(rng)[:LONGEST_WORD]
        if len(word) > 1 and not is_reserved(word) and word not in KINDS and not _is_taken(word):
            return word


def _syllables(rng: Random) -> str:
    onsets, vowels, ends = (part.split() for part in rng.choice(SYLLABLES))
    word = "".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(rng.randint(1, 3)))
    return word + rng.choice(("", *ends))


def _brand(rng: Random) -> str:
    start = rng.choice(CONSONANTS) + rng.choice(VOWELS) + rng.choice(CONSONANTS)
    return rng.choice(("", rng.choice(VOWELS))) + start + rng.choice(BRAND_ENDS)


def _letters(rng: Random) -> str:
    return "".join(rng.choice(CONSONANTS + VOWELS) for _ in range(rng.randint(2, LONGEST_WORD)))


def _is_taken(word: str) -> bool:
    return any(f"{word} {kind}" in by_name() for kind in KINDS)
