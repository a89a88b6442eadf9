//! A queue of messages in shared memory between two of our workers, and a counter beside it: PostgreSQL's own dynamic
//! segments and shm_mq. One end sends, the other receives; when either goes, the other is told. Only the main threads of
//! workers come here: a segment is unmapped while the process ends, under the feet of any other thread.

use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::pg_sys;

use crate::error::Failure;

/// Room of a queue: about a batch, so that the next one is there when one is written.
const ROOM: usize = 8 * 1024 * 1024;
/// The counter comes first, and shm_mq wants to begin at a multiple of 8.
const BOARD: usize = 64;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Whole,
    /// Not yet, or only in part: to be sent again, the same one.
    Later,
    /// Nobody is at the other end any more.
    Gone,
}

/// One end of a queue; it is left when the value is dropped.
pub struct Queue {
    segment: *mut pg_sys::dsm_segment,
    handle: *mut pg_sys::shm_mq_handle,
    counter: *const AtomicU64,
}

/// The sending end of a new queue; none when there is no room for a segment.
pub fn create() -> Option<Queue> {
    // SAFETY: outside of any resource owner's care, in memory that lives as long as the process; the segment is as large
    // as what is laid out in it, and nobody else knows it yet.
    super::for_life(|| unsafe {
        let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32;
        let segment = pg_sys::dsm_create(BOARD + ROOM, flags);
        if segment.is_null() {
            return None;
        }
        pg_sys::dsm_pin_mapping(segment);
        let start = pg_sys::dsm_segment_address(segment).cast::<u8>();
        start.cast::<AtomicU64>().write(AtomicU64::new(0));
        let queue = pg_sys::shm_mq_create(start.add(BOARD).cast(), ROOM);
        pg_sys::shm_mq_set_sender(queue, pg_sys::MyProc);
        let handle = pg_sys::shm_mq_attach(queue, segment, std::ptr::null_mut());
        Some(Queue {
            segment,
            handle,
            counter: start.cast(),
        })
    })
}

/// The receiving end of a queue; none when the other end is gone already.
pub fn join(address: u32) -> Option<Queue> {
    // SAFETY: as above; the sender laid the segment out before it told its address.
    super::for_life(|| unsafe {
        let segment = pg_sys::dsm_attach(address);
        if segment.is_null() {
            return None;
        }
        pg_sys::dsm_pin_mapping(segment);
        let start = pg_sys::dsm_segment_address(segment).cast::<u8>();
        let queue = start.add(BOARD).cast::<pg_sys::shm_mq>();
        pg_sys::shm_mq_set_receiver(queue, pg_sys::MyProc);
        let handle = pg_sys::shm_mq_attach(queue, segment, std::ptr::null_mut());
        Some(Queue {
            segment,
            handle,
            counter: start.cast(),
        })
    })
}

impl Queue {
    /// What the other end is to join.
    pub fn address(&self) -> u32 {
        // SAFETY: the segment is attached as long as this value lives.
        unsafe { pg_sys::dsm_segment_handle(self.segment) }
    }

    fn counter(&self) -> &AtomicU64 {
        // SAFETY: at the start of the segment, which is attached as long as this value lives.
        unsafe { &*self.counter }
    }

    /// Messages that the receiver has dealt with.
    pub fn dealt_with(&self) -> u64 {
        self.counter().load(Ordering::SeqCst)
    }

    pub fn count_one(&self) {
        self.counter().fetch_add(1, Ordering::SeqCst);
    }

    /// Sends as much as there is room for, without waiting.
    pub fn send(&mut self, message: &[u8]) -> Sent {
        // SAFETY: this end is the sender's; the bytes are only read, during the call.
        let result = unsafe {
            pg_sys::shm_mq_send(
                self.handle,
                message.len(),
                message.as_ptr().cast(),
                true,
                true,
            )
        };
        match result {
            pg_sys::shm_mq_result::SHM_MQ_SUCCESS => Sent::Whole,
            pg_sys::shm_mq_result::SHM_MQ_WOULD_BLOCK => Sent::Later,
            _ => Sent::Gone,
        }
    }

    /// A message that has come whole, if one has; fails when none will come any more.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let (mut length, mut data) = (0, std::ptr::null_mut());
        // SAFETY: this end is the receiver's; what comes back is copied before the next call.
        unsafe {
            match pg_sys::shm_mq_receive(self.handle, &mut length, &mut data, true) {
                pg_sys::shm_mq_result::SHM_MQ_SUCCESS => Ok(Some(
                    std::slice::from_raw_parts(data.cast::<u8>(), length).to_vec(),
                )),
                pg_sys::shm_mq_result::SHM_MQ_WOULD_BLOCK => Ok(None),
                _ => Err(Failure::new("57P02", "the other end of the queue is gone")),
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: each is let go once, in this order.
        unsafe {
            pg_sys::shm_mq_detach(self.handle);
            pg_sys::dsm_detach(self.segment);
        }
    }
}
