"""Products under float16 autocast, for activations beyond float16's range.

The residual stream reaches 1e7 in the released weights (2.5e7 at [CLS]); float16 ends at 65504. Norms, residual sums
and heads stay in float32, but under autocast a product still reads the stream in half precision. bfloat16 has float32's
range and needs nothing. For float16 the operands are scaled first and the product, taken back to float32, is
scaled again. Without float16 autocast everything here is Paddle's own layer and ``matmul``.
"""

import paddle
from paddle import Tensor, nn
from paddle.autograd import PyLayer

# What the terms of a float16 sum are held to: 1e6 of them stay below 65504.
_LARGEST_TERM = 1 / 16

# Keeps a row of zeros from being divided by zero.
_LEAST_MAGNITUDE = 1e-30


class Linear(nn.Linear):
    """``nn.Linear``, whose product is scaled and whose bias is added in float32 under float16 autocast."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        if not needs_scaling(input):
            return super().forward(input)
        rows = input.reshape([-1, input.shape[-1]])
        return _ScaledProduct.apply(rows, self.weight).reshape([*input.shape[:-1], -1]) + self.bias


def matmul(left: Tensor, right: Tensor, transpose_y: bool = False) -> Tensor:
    """``paddle.matmul`` of operands with equal batch axes; scaled, and float32, under float16 autocast."""
    if not needs_scaling(left, right):
        return paddle.matmul(left, right, transpose_y=transpose_y)
    return _ScaledProduct.apply(left, right.swapaxes(-1, -2) if transpose_y else right)


def needs_scaling(*operands: Tensor) -> bool:
    """Whether autocast, here and now, would take these operands from float32 to float16."""
    if not paddle.is_autocast_enabled() or paddle.get_autocast_dtype() != "float16":
        return False
    return all(operand.dtype == paddle.float32 for operand in operands)


class _ScaledProduct(PyLayer):
    """left @ right: [..., N, K], [..., K, M] -> [..., N, M].

    The backward is written out, so that the gradients' products are scaled by what *they* need: through plain
    autograd a gradient would meet float16 multiplied by the forward's scale, up to 1e7. Only first derivatives exist.
    """

    @staticmethod
    def forward(ctx, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.wanted = [not operand.stop_gradient for operand in (left, right)]
        return _scaled_product(left, right)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        left, right = ctx.saved_tensor()
        left_wanted, right_wanted = ctx.wanted
        return (
            _scaled_product(gradient, right.swapaxes(-1, -2)) if left_wanted else None,
            _scaled_product(left.swapaxes(-1, -2), gradient) if right_wanted else None,
        )


def _scaled_product(left: Tensor, right: Tensor) -> Tensor:
    """The float32 product by way of float16: each output row keeps the relative precision of its largest term.

    Rows of ``right`` are brought to 1 and their magnitudes handed to the columns of ``left``: a column that meets
    [CLS] weighs as much as it adds to the sum. Then rows of ``left`` are brought to ``_LARGEST_TERM``. Nothing can
    overflow, and what underflows is below 1e-6 of the row's largest term. The scales are no powers of two: their
    rounding is float32's, and float16's is 8192 times larger.
    """
    right_scale = _magnitude(right)  # [..., K, 1]
    left = left * right_scale.swapaxes(-1, -2)
    left_scale = _magnitude(left) / _LARGEST_TERM  # [..., N, 1]
    product = paddle.matmul((left / left_scale).astype("float16"), (right / right_scale).astype("float16"))
    return product.astype("float32") * left_scale


def _magnitude(matrix: Tensor) -> Tensor:
    """Largest absolute value of each row: [..., N, K] -> [..., N, 1]."""
    return matrix.abs().max(axis=-1, keepdim=True).clip(min=_LEAST_MAGNITUDE)
