"""Names: everyday words for common species, invented ones for rare and novel species."""

from __future__ import annotations

from random import Random

COMMON_NAMES: dict[str, list[str]] = {
    "butterfly": "monarch swallowtail admiral brimstone peacock ringlet skipper birdwing fritillary cardinal".split(),
    "fish": "koi tang clown angel puffer guppy perch betta wrasse tetra".split(),
    "bird": "robin finch jay oriole wren kingfisher magpie tanager swift hoopoe".split(),
    "flower": "daisy poppy aster dahlia cosmos anemone zinnia primrose marigold gazania".split(),
    "mushroom": "toadstool button porcini parasol inkcap bolete russula chanterelle blewit waxcap".split(),
    "beetle": "ladybird scarab stag jewel longhorn tiger rose diving click leaf".split(),
    "car": "rally taxi coupe roadster patrol racing vintage postal family police".split(),
    "rocket": "apollo saturn vostok comet falcon ariane titan atlas pioneer voyager".split(),
    "sailboat": "sloop ketch dinghy regatta clipper lugger cutter schooner catboat pirate".split(),
    "lighthouse": "harbour beacon island breakwater cape granite northern lagoon pier candy".split(),
    "teapot": "willow dutch english moroccan delft sencha picnic enamel porcelain bistro".split(),
    "robot": "tin butler martian guard toy kitchen dancing factory doctor pocket".split(),
}

_ONSETS = "b br d dr f g gl k kr l m n p pl qu r s sk t tr v w y z".split()
_VOWELS = "a e i o u".split()
_MIDDLES = "b d ff g l ll m mb n nd r rn s sk v x z zz".split()
_ENDINGS = "el ik or an is um ax on ette oo ine ar".split()


def invented_name(rng: Random) -> str:
    """A pronounceable name of two syllables and an ending."""
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_MIDDLES) + rng.choice(_ENDINGS)


def invented_names(count: int, rng: Random) -> list[str]:
    """Invented names, no two with the same first three and last three letters."""
    names = ["quixel", "velmor", "tarnik", "ombra"]
    heads = {(name[:3], name[-3:]) for name in names}
    while len(names) < count:
        name = invented_name(rng)
        key = (name[:3], name[-3:])
        if key not in heads:
            names.append(name)
            heads.add(key)
    return names[:count]
