//! Each known defect of CPython's multiprocessing, and the tests that show that this crate does not have it.
//!
//! The table is checked against the source: each row has a test, and each test that it names is there and is run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Number of the defect, the file below `tests`, and the test.
#[rustfmt::skip]
const TESTS: &[(u32, &str, &str)] = &[
    // A killed worker loses its job for ever; an idle one takes the pool along.
    (1, "pool.rs", "a_killed_worker_fails_its_own_task_and_is_replaced_known_bad_1"),
    (2, "pool.rs", "an_idle_worker_that_is_killed_costs_nothing_known_bad_2"),
    // A killed holder's lock is never released.
    (3, "sync.rs", "a_killed_holder_process_passes_the_lock_to_a_waiter"),
    (3, "sync.rs", "a_killed_holders_nesting_lock_passes_to_a_waiter_however_deep_it_was"),
    (4, "queue.rs", "a_getter_killed_in_get_locks_nobody_out_known_bad_4"),
    // A killed waiter hangs notify, set and the other parties.
    (5, "sync_condition.rs", "a_killed_waiter_does_not_hold_up_notify"),
    (6, "sync_event.rs", "a_killed_waiter_does_not_hold_up_set"),
    (6, "sync_barrier.rs", "a_killed_party_breaks_the_barrier_for_who_waits"),
    (6, "sync_barrier.rs", "a_killed_party_breaks_the_barrier_for_who_comes_and_a_reset_repairs_it"),
    // A pulse is missed by who was waiting.
    (7, "sync_event.rs", "a_pulse_releases_everybody_who_was_waiting"),
    // What a feeder thread does to a queue: late, lost, stuck.
    (8, "queue.rs", "empty_is_right_after_put_known_bad_8"),
    (9, "queue.rs", "an_item_that_cannot_be_encoded_is_an_error_of_put_known_bad_9"),
    (10, "queue.rs", "a_producer_with_unread_items_ends_known_bad_10"),
    (11, "queue.rs", "items_whose_put_returned_survive_the_producers_kill_known_bad_11"),
    // Pools that hang or respawn for ever.
    (12, "pool.rs", "a_failing_initializer_breaks_the_pool_with_its_error_known_bad_12"),
    (12, "executors.rs", "a_failing_initializer_breaks_the_executor_known_bad_12"),
    (13, "pool.rs", "callbacks_get_the_outcome_and_a_panicking_one_harms_nobody_known_bad_13"),
    (13, "pool.rs", "what_can_not_be_encoded_or_decoded_fails_its_own_task_known_bad_13"),
    (14, "pool.rs", "a_terminated_pool_fails_everything_at_once_known_bad_14"),
    (15, "pool.rs", "an_endless_input_stays_within_the_buffer_known_bad_15"),
    (16, "pool.rs", "a_map_with_chunks_of_zero_is_refused_known_bad_16"),
    (17, "executors.rs", "shutdown_with_cancel_tells_waiters_at_once_known_bad_17"),
    (18, "executors.rs", "a_future_runs_when_a_worker_has_begun_it_and_can_be_cancelled_until_then_known_bad_18"),
    (19, "pool.rs", "workers_are_replaced_after_so_many_tasks_known_bad_19"),
    (20, "executors.rs", "one_dead_worker_fails_its_own_future_only_known_bad_20"),
    // Attaching destroys; contents are cut short.
    (21, "named.rs", "a_segment_goes_with_its_name_and_its_last_user"),
    (22, "dyn_values.rs", "an_array_is_a_vec_that_refuses_what_is_out_of_range"),
    (22, "dyn_values.rs", "characters_and_floats_are_kept_as_what_they_are"),
    // A silent client, a missing key, a torn message.
    (23, "listener.rs", "silent_clients_delay_nobody_known_bad_23"),
    (23, "listener.rs", "a_silent_client_is_turned_away_at_the_deadline_known_bad_23"),
    (24, "listener.rs", "keys_that_differ_are_an_error_at_both_ends_known_bad_24"),
    (25, "queue.rs", "a_writer_killed_in_the_middle_leaves_whole_items_known_bad_25"),
    (25, "connection.rs", "a_killed_sender_leaves_whole_messages_and_a_usable_end_known_bad_25"),
    (26, "connection.rs", "senders_on_one_end_never_interleave_known_bad_26"),
    (27, "shared.rs", "two_processes_count_exactly"),
    (28, "manager.rs", "a_failed_call_spoils_no_proxy_known_bad_28"),
    (29, "limits.rs", "a_full_tmpfs_is_a_typed_error_or_no_matter_and_never_a_signal"),
    // Processes nobody ends, nobody hears of, nobody can tell from others.
    (30, "started/lifetimes.rs", "a_daemon_ends_with_its_parent_however_that_ends_known_bad_30"),
    (31, "started/lifetimes.rs", "a_tree_is_killed_with_its_root_known_bad_31"),
    (32, "started/cases.rs", "a_child_that_somebody_else_waited_for_is_unknown_known_bad_32"),
    (32, "started/cases.rs", "with_ignored_child_signals_results_still_arrive_known_bad_32"),
    (33, "fork.rs", "a_process_with_threads_is_not_forked_known_bad_33"),
    (33, "started/cases.rs", "what_other_threads_have_locked_is_free_in_a_process_known_bad_33"),
    (34, "pool.rs", "a_task_that_ends_its_process_fails_with_its_code_known_bad_34"),
    // Counters of one's own, which every system has.
    (35, "queue.rs", "len_and_is_full_are_exact_at_every_step"),
    // Locks that deadlock with their own holder, or that anyone releases.
    (36, "sync.rs", "taking_a_lock_twice_is_a_deadlock_error"),
    (37, "sync.rs", "an_inherited_guard_does_not_unlock_what_the_forked_child_locked_itself"),
    (38, "queue.rs", "put_takes_the_item_as_it_is_known_bad_38"),
    (39, "sync_barrier.rs", "a_barrier_of_no_parties_is_a_typed_error"),
    (40, "started/cases.rs", "a_panic_arrives_with_its_message_and_place_known_bad_40"),
    (41, "connection.rs", "a_message_that_is_too_long_leaves_the_connection_usable_known_bad_41"),
    (42, "joinable.rs", "task_done_belongs_to_an_item_and_join_has_a_time_known_bad_42"),
    (43, "queue.rs", "shutdown_fails_putters_and_drains_getters_known_bad_43"),
    (44, "pool.rs", "a_task_that_takes_too_long_is_ended_and_the_others_go_on_known_bad_44"),
    (44, "executors.rs", "workers_are_ended_with_what_they_do_known_bad_44"),
    (45, "executors.rs", "a_worker_that_dies_while_a_cancelled_future_waits_harms_nobody_known_bad_45"),
    (46, "queue.rs", "a_put_with_no_reader_can_be_timed_known_bad_46"),
    (46, "connection.rs", "a_sender_gives_up_on_a_reader_that_has_stopped_known_bad_46"),
    (47, "manager.rs", "nested_mutation_is_not_lost_known_bad_47"),
    // Names that outlive all their users.
    (48, "named.rs", "a_name_in_use_is_refused_and_a_stale_one_is_taken_over"),
    (49, "sync_condition.rs", "taking_the_lock_again_can_be_bounded_and_gives_the_notification_away"),
    (50, "threads.rs", "a_panicking_process_on_a_thread_exits_with_1_known_bad_50"),
];

/// How many rows the list of known defects has.
const ROWS: u32 = 50;

#[test]
fn each_known_defect_has_a_test_that_is_there() {
    let missing: BTreeSet<_> = (1..=ROWS).filter(|row| !TESTS.iter().any(|(of, ..)| of == row)).collect();
    assert!(missing.is_empty(), "without a test: {missing:?}");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (row, file, test) in TESTS {
        let text = fs::read_to_string(directory.join(file)).unwrap();
        assert!(is_run(&text, test), "row {row}: there is no test {test} in tests/{file}");
    }
}

/// Whether a file has this test and doesn't ignore it: an attribute above the function, and no other than `test` that would
/// keep it from running.
fn is_run(text: &str, test: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {test}(")) else { return false };
    let above: Vec<_> = before.trim_end().lines().rev().take_while(|line| !line.trim().is_empty()).collect();
    above.iter().any(|line| line.trim() == "#[test]") && !above.iter().any(|line| line.contains("#[ignore"))
}
