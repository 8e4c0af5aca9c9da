// All kernels of one storage: one module.
#include "attack.cu"
#include "conv.cu"
#include "depthwise.cu"
#include "direct.cu"
#include "each.cu"
#include "layout.cu"
#include "norm.cu"
#include "optimiser.cu"
#include "pack.cu"
#include "pool.cu"
#include "weight_gradient.cu"
// What the emulator has of sm_90a lies beside the rest; on a card it is a module of its own.
#ifdef HOST_CUDA
#include "warpgroup.cu"
#endif
