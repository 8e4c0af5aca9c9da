// The kernels of one storage for a CPU; -DSTORE_... says which.
#define HOST_CUDA 1
#include "../kernels/all.cu"
