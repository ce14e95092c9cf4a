"""Which layer of a teacher a student's layer learns from, and layers that a student begins with."""

import re

import paddle
from paddle import nn

_LAYER = re.compile(r"(encoder\.layer\.)(\d+)\.")


def layer_map(num_student: int, num_teacher: int) -> list[int]:
    """For each layer of the student the layer of the teacher whose output it learns, from 1; the last is the last.

    The teacher's layers are spread evenly: 2, 4, 6 ... for a student of half its depth.
    """
    return [round(number * num_teacher / num_student) for number in range(1, num_student + 1)]


@paddle.no_grad()
def copy_layers(teacher: nn.Layer, student: nn.Layer, layers: list[int]) -> None:
    """Give a student the weights of a teacher with more layers of the same shape.

    Args:
        teacher, student: of one class and, but for the number of layers, one configuration.
        layers: of the teacher, from 1, one for each of the student's.
    """
    theirs = dict(teacher.named_parameters())
    for name, parameter in student.named_parameters():
        source = _LAYER.sub(lambda match: f"{match[1]}{layers[int(match[2])] - 1}.", name)
        parameter.set_value(theirs[source])
