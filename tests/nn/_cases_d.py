"""Quantizers made of others for test_contract.py: levels, slices, groups of levels."""

from certvq.nn import (
    Beam,
    EachLevel,
    Gradient,
    GroupedResidualVQ,
    Neural,
    ProductQuantize,
    Residual,
    ResidualVQ,
    VectorQuantize,
)


def residual(*sizes, **fixed):
    return lambda **options: ResidualVQ(4, *sizes, **fixed, **options)


def product(layout, generator):
    parts = [VectorQuantize(width, 5, generator=generator) for width in (1, 3)]
    return ProductQuantize(parts, layout=layout)


def residual_of_products(layout, generator):
    parts = [
        ProductQuantize([VectorQuantize(2, size, generator=generator) for size in sizes])
        for sizes in ((3, 4), (5, 5))
    ]
    return Residual(parts, layout=layout, generator=generator)


CASES = [
    ("residual", residual(6, num_quantizers=3)),
    ("residual-sizes", residual((6, 5), update=Gradient())),
    ("residual-shared", residual(6, num_quantizers=3, shared=True)),
    ("residual-each-level", residual(6, num_quantizers=2, estimator=EachLevel(0.5))),
    ("residual-beam", residual((6, 5, 2), beam=Beam(3))),
    ("residual-neural", residual((6, 5, 2), neural=Neural(depth=1, hidden=5))),
    ("product", product),
    ("residual-of-products", residual_of_products),
    (
        "grouped-residual",
        lambda **options: GroupedResidualVQ(4, 5, groups=2, num_quantizers=2, **options),
    ),
]
