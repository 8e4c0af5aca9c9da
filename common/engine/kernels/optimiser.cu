// What a training step does to parameters and statistics where they lie, the bits of the host's.
//
//   sgd average scale_add statistics  256 threads, a value each: count
//
// Each operation is rounded by itself: contraction is off, and the host's loop has the same operations in this order.
#pragma once
#include "finish.h"

KERNEL(sgd, Sgd, 256) {
    const u32 i = thread_number();
    if (i >= (u32)a.count) return;
    const float p = a.parameters[i], pull = a.gradients[i] + a.decay * p, v = a.momentum * a.velocity[i] + pull;
    a.velocity[i] = v;
    a.parameters[i] = p - a.rate * (a.nesterov ? pull + a.momentum * v : v);
}
// From the nearer end, as PyTorch interpolates: an average that keeps nothing is the student to the last bit.
KERNEL(average, Average, 256) {
    const u32 i = thread_number();
    if (i >= (u32)a.count) return;
    const float from = a.average[i], student = a.student[i], apart = student - from;
    a.average[i] = a.decay > 0.5f ? from + a.pull * apart : student - a.decay * apart;
}
KERNEL(scale_add, ScaleAdd, 256) {
    const u32 i = thread_number();
    if (i < (u32)a.count) a.to[i] = a.to[i] + a.factor * a.from[i];
}
KERNEL(statistics, Statistics, 256) {
    const u32 i = thread_number();
    if (i >= (u32)a.count) return;
    const double m = a.momentum[i];
    if (m != 0) a.running[i] = (float)((1 - m) * a.running[i] + m * a.batch[i]);
}
