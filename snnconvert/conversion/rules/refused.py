"""Operations that are never converted, of which a pass must know something all the same.

All overloads of each, unless one of them has a rule of its own; in-place variants too.
"""

from __future__ import annotations

from snnconvert.conversion.rules.moving import reshaped
from snnconvert.conversion.rules.registry import add
from snnconvert.conversion.rules.rule import Rule, View

add(Rule("refused", dropout=True), """
    dropout dropout_ feature_dropout feature_dropout_ alpha_dropout alpha_dropout_
    feature_alpha_dropout feature_alpha_dropout_""")  # fmt: skip
add(Rule("refused", random=True), """
    rand randn rand_like randn_like bernoulli bernoulli_ normal normal_ multinomial randint
    randperm rrelu rrelu_ native_dropout""")  # fmt: skip
add(Rule("refused", view=View(reshaped)), "view")  # as another dtype
add(Rule("refused", view=View()), "narrow")
