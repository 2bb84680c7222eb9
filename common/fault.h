/*
 * fault.h - places where a build for tests (make FAULTS=1) can be killed as if by kill -9.
 *
 * The environment's FAULT_POINTS names a file of FAULT_POINT_MAX_ 32-bit numbers, one for each
 * point below in that order, which all processes share. A number k above 0 kills the k-th process
 * that comes by. Each that comes by counts its number down, so that a test sees which points were
 * met: of those that it left at 0 the number is less.
 *
 * In any other build a point is nothing.
 */
#ifndef DLD_FAULT_H
#define DLD_FAULT_H

/* What has just happened where the point is; "_due": what is about to. */
#define FAULT_POINTS(X)                                                                            \
    /* the master starts and stops */                                                              \
    X(state_locked)                                                                                \
    X(schema_made) /* and not committed */                                                         \
    X(store_opened)                                                                                \
    X(workers_started)                                                                             \
    X(control_opened)                                                                              \
    X(stop_begun)                                                                                  \
    X(stop_drained)                                                                                \
    X(store_settled)                                                                               \
    /* its clients */                                                                              \
    X(submit_received)                                                                             \
    X(answer_due)                                                                                  \
    X(answer_sent)                                                                                 \
    /* its store: in the transaction, and when that is durable */                                  \
    X(submit_inserted)                                                                             \
    X(submit_committed)                                                                            \
    X(batch_released)                                                                              \
    X(waiting_due)                                                                                 \
    X(change_made)                                                                                 \
    X(change_committed)                                                                            \
    X(checkpoint_put)                                                                              \
    X(end_put)                                                                                     \
    X(end_committed)                                                                               \
    X(leftover_gone)                                                                               \
    X(purge_deferred)                                                                              \
    X(purge_done)                                                                                  \
    X(commit_due)                                                                                  \
    X(commit_done)                                                                                 \
    X(log_moved_due) /* the write-ahead log, into the file */                                      \
    X(log_moved)                                                                                   \
    /* its workers */                                                                              \
    X(start_due)                                                                                   \
    X(start_queued)                                                                                \
    X(cancel_queued)                                                                               \
    X(discard_queued)                                                                              \
    X(fetched_received)                                                                            \
    X(checkpoint_received)                                                                         \
    X(result_received)                                                                             \
    X(discarded_received)                                                                          \
    X(worker_lost)                                                                                 \
    /* messages, of either side */                                                                 \
    X(packet_due)                                                                                  \
    X(packet_sent)                                                                                 \
    /* a worker */                                                                                 \
    X(worker_configured)                                                                           \
    X(job_received)                                                                                \
    X(directory_made)                                                                              \
    X(part_opened)                                                                                 \
    X(part_reopened)                                                                               \
    X(write_due)                                                                                   \
    X(write_done)                                                                                  \
    X(part_marked)                                                                                 \
    X(fetched_queued)                                                                              \
    X(sync_due)                                                                                    \
    X(data_synced)                                                                                 \
    X(kept_synced)                                                                                 \
    X(name_due)                                                                                    \
    X(name_given)                                                                                  \
    X(unnamed_linked)                                                                              \
    X(replacement_linked)                                                                          \
    X(directories_due)                                                                             \
    X(directories_synced)                                                                          \
    X(checkpoint_due)                                                                              \
    X(result_due)                                                                                  \
    X(result_queued)                                                                               \
    X(part_forgotten)                                                                              \
    X(own_found)                                                                                   \
    X(cancel_received)                                                                             \
    X(release_received)                                                                            \
    X(discard_received)                                                                            \
    X(discard_done)                                                                                \
    X(stop_received)

#ifdef FAULTS

#define FAULT_NAME(name) FAULT_##name,
enum fault { FAULT_POINTS(FAULT_NAME) FAULT_POINT_MAX_ };
#undef FAULT_NAME

void fault_met(enum fault);
#define fault_point(name) fault_met(FAULT_##name)

#else
#define fault_point(name) ((void)0)
#endif

#endif
