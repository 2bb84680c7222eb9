#include "common/backoff.h"

uint64_t backoff_delay(unsigned attempt, uint64_t base_usec, uint64_t max_usec, uint32_t random) {
    unsigned doublings = attempt > 0 ? attempt - 1 : 0;
    uint64_t delay, half;

    if (doublings >= 64 || base_usec > (max_usec >> doublings))
        delay = max_usec;
    else
        delay = base_usec << doublings;
    half = delay / 2;
    return delay - half + (uint64_t)(((__uint128_t)half * random) / UINT32_MAX);
}
