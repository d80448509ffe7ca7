//! Workers that answer, fail, panic and hang.

use super::*;
use std::sync::mpsc;

fn options(threads: usize, queue: usize, deadline: Option<Duration>) -> PoolOptions {
    PoolOptions { threads, spare: 0, queue, deadline }
}

#[test]
fn every_job_gets_its_own_answer() {
    let pool = Pool::new("test", options(3, 1000, None), || |job: u32| job * 2).unwrap();
    let futures: Vec<_> = (0..500).map(|job| (job, pool.submit(job))).collect();
    for (job, future) in futures {
        assert_eq!(wait(future), Ok(job * 2));
    }
}

#[test]
fn a_worker_that_hangs_does_not_hang_the_caller() {
    let (release, hang) = mpsc::channel::<()>();
    let hang = Arc::new(Mutex::new(hang));
    let pool = Pool::new("test", options(1, 8, Some(Duration::from_millis(20))), move || {
        let hang = Arc::clone(&hang);
        move |job: u32| {
            if job == 0 {
                let _ = hang.lock().unwrap().recv();
            }
            job
        }
    })
    .unwrap();
    let stuck = pool.submit(0);
    let behind = pool.submit(1);
    assert_eq!(wait(stuck), Err(PoolError::TimedOut));
    assert_eq!(wait(behind), Err(PoolError::TimedOut), "the deadline counts from handing in");
    release.send(()).unwrap();
    // The thread comes back, skips the job that nobody waits for, and
    // serves the next; how soon is up to the scheduler.
    let served = (0..1000).any(|_| wait(pool.submit(2)) == Ok(2));
    assert!(served);
    let mut state = pool.shared.lock();
    state.prune();
    assert!(state.deadlines.is_empty() && state.queue.is_empty());
}

#[test]
fn a_full_queue_refuses_at_once() {
    let (release, hang) = mpsc::channel::<()>();
    let (entered, started) = mpsc::channel::<()>();
    let hang = Arc::new(Mutex::new(hang));
    let pool = Pool::new("test", options(1, 2, None), move || {
        let (hang, entered) = (Arc::clone(&hang), entered.clone());
        move |job: u32| {
            entered.send(()).unwrap();
            let _ = hang.lock().unwrap().recv();
            job
        }
    })
    .unwrap();
    let first = pool.submit(1);
    started.recv().unwrap();
    let (second, third) = (pool.submit(2), pool.submit(3));
    assert_eq!(wait(pool.submit(4)), Err(PoolError::Full));
    drop(second);
    drop(release);
    assert_eq!(wait(first), Ok(1));
    assert_eq!(wait(third), Ok(3));
    assert_eq!(started.try_iter().count(), 1, "the abandoned job was never started");
}

#[test]
fn a_panic_loses_one_job_and_no_more() {
    let pool = Pool::new("test", options(1, 8, None), || {
        |job: u32| if job == 0 { panic!("on purpose") } else { job }
    })
    .unwrap();
    assert_eq!(wait(pool.submit(0)), Err(PoolError::Lost));
    assert_eq!(wait(pool.submit(1)), Ok(1));
}

/// A pool whose jobs `0` hang until the sender says something or is dropped,
/// each once.
fn hanging(spare: usize) -> (Pool<u32, u32>, mpsc::Sender<()>, mpsc::Receiver<()>) {
    hanging_for(spare, Duration::from_millis(20))
}

fn hanging_for(spare: usize, deadline: Duration) -> (Pool<u32, u32>, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (release, hang) = mpsc::channel::<()>();
    let (entered, began) = mpsc::channel();
    let hang = Arc::new(Mutex::new(hang));
    let options = PoolOptions { threads: 1, spare, queue: 8, deadline: Some(deadline) };
    let pool = Pool::new("test", options, move || {
        let (hang, entered) = (Arc::clone(&hang), entered.clone());
        move |job: u32| {
            if job == 0 {
                let _ = entered.send(());
                let _ = hang.lock().unwrap().recv();
            }
            job
        }
    });
    (pool.unwrap(), release, began)
}

/// Until it is so; how soon is up to the scheduler.
fn soon(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Has one worker hang. On a machine that stalls, a job may be late before
/// anybody has begun it.
fn hang(pool: &Pool<u32, u32>, began: &mpsc::Receiver<()>) {
    let started = Instant::now();
    while began.try_recv().is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "nobody begins");
        assert_eq!(wait(pool.submit(0)), Err(PoolError::TimedOut));
    }
}

fn served(pool: &Pool<u32, u32>) -> bool {
    wait(pool.submit(1)) == Ok(1)
}

#[test]
fn another_worker_takes_the_place_of_one_that_hangs() {
    let (pool, release, began) = hanging(1);
    assert_eq!(pool.hanging(), 0);
    hang(&pool, &began);
    assert_eq!(pool.hanging(), 1);
    soon("the other one serves", || served(&pool));
    assert_eq!((pool.hanging(), pool.shared.lock().live), (1, 3), "two workers and the watchdog");
    // The one that hung comes back, and ends: its state is not to be trusted.
    release.send(()).unwrap();
    soon("it ends", || pool.shared.lock().live == 2);
    assert_eq!(pool.hanging(), 0);
    // And again, as often as it happens.
    hang(&pool, &began);
    soon("a third one serves", || served(&pool));
    drop(release);
}

#[test]
fn so_many_take_the_place_of_others_at_once_and_then_one_now_and_then() {
    let (pool, release, began) = hanging(1);
    for _ in 0..2 {
        // The second hangs in the thread that took the first one's place.
        hang(&pool, &began);
        soon("the first is replaced", || pool.shared.lock().replaced >= 1);
    }
    assert_eq!(pool.hanging(), 2);
    // That keeps the watchdog from nobody who waits meanwhile.
    soon("it sleeps, and is woken for the next", || pool.shared.lock().unwatched);
    // It comes, although none has come back.
    soon("a third one serves", || served(&pool));
    assert_eq!(pool.hanging(), 2);
    // All of them come back, and the one that serves stays.
    release.send(()).unwrap();
    release.send(()).unwrap();
    soon("those that hung are back", || pool.hanging() == 0 && pool.shared.lock().live == 2);
    assert!(served(&pool));
}

#[test]
fn beyond_the_spare_ones_nobody_is_started_beside_one_that_serves() {
    let (at, rest) = (Instant::now(), Duration::from_secs(60));
    let options = PoolOptions { threads: 2, spare: 1, queue: 8, deadline: Some(Duration::from_secs(1)) };
    let mut state = State::<(), ()>::new();
    let hangs = || (at, Arc::new(Ticket::new(oneshot::channel().0)));
    assert_eq!(state.next_start(&options, rest), None);
    state.late.push_back(hangs());
    assert_eq!(state.next_start(&options, rest), Some(at));
    (state.replaced, state.last_start) = (1, Some(at));
    assert_eq!(state.next_start(&options, rest), None, "one of two serves");
    state.late.push_back(hangs());
    assert_eq!(state.next_start(&options, rest), Some(at + rest));
}

#[test]
fn a_worker_hangs_whether_anybody_waits_or_not() {
    let (pool, release, began) = hanging(1);
    loop {
        let given_up = pool.submit(0);
        // Whoever does not begin within this has not begun in time.
        if began.recv_timeout(Duration::from_secs(5)).is_ok() {
            drop(given_up);
            break;
        }
    }
    soon("it is noticed", || pool.hanging() == 1);
    soon("another serves", || served(&pool));
    drop(release);
}

#[test]
fn an_answer_that_waits_for_others_is_not_lost_behind_one_that_hangs() {
    let (pool, release, began) = hanging_for(0, Duration::from_secs(10));
    let first = pool.submit(0);
    began.recv().unwrap();
    // Quick, and more of them wait: it is kept for the one behind it.
    let quick = pool.submit(1);
    let hung = pool.submit(0);
    release.send(()).unwrap();
    began.recv().unwrap();
    assert_eq!(wait(first), Ok(0));
    assert_eq!(wait(quick), Ok(1));
    assert_eq!(wait(hung), Err(PoolError::TimedOut));
    assert_eq!(pool.hanging(), 1, "the one that hangs, and no more");
    drop(release);
}
