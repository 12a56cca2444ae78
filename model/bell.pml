/* Bells and parking: whatever bell is lost and whoever dies, the run comes to its end once faults stop.
   Two shards share a budget that does not hold all of their leases at once. A shard's work is one step here;
   what it does to money is money.pml's matter. Checked under weak fairness: the run ends.
   A stop for want of budget is right only if nothing that is left would fit. */

#define NS 2
#ifndef LIM
#define LIM 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef LOSSES
#define LOSSES 1                /* bells that are lost */
#endif

#define OPEN 0
#define LEASED 1
#define DONE 2
#define PARKED 3

hidden byte I14_stop_is_right, I4_limit;

byte state[NS], epoch[NS];
byte owner[NS];                 /* whose lease it is; 0 is nobody, 9 is one that is dead */
byte first[NS], rest[NS];       /* worst case of the next call, and of all after it: what is not done needs */
byte held[NS];                  /* reserved for the lease */
byte risk, used;                /* at risk; spent */
bool bell[NS]; byte bell_epoch[NS];
bool rung[NS];                  /* rung a short while ago: its bell may still be heard */
bool fin_bell, fin_rung;        /* the bell to finish */
bool ended, stopped;            /* the run has its verdict; stopped: it asked to end for want of budget */
byte crashes, losses;

#define HELD (used + risk + held[0] + held[1])
#define FITS(x) (HELD + (x) <= LIM)
#define LIVE (!stopped && !ended)                                        /* guard: RUN_LIVE */

inline RING(s) { bell[s] = true; bell_epoch[s] = epoch[s]; rung[s] = true }
inline RING_FINISH() { fin_bell = true; fin_rung = true }

/* What has money to come back opens parked shards. */
inline UNPARK(except) {
  skip;
#ifndef BUG_NO_UNPARK
  if :: (except != 0 && state[0] == PARKED) -> state[0] = OPEN; RING(0) :: else fi;
  if :: (except != 1 && state[1] == PARKED) -> state[1] = OPEN; RING(1) :: else fi
#endif
}

/* A run is stopped if every shard that is not done is parked. */
inline STOP_IF_STUCK() {
  if
#ifdef BUG_STOP_WHILE_LEASED
  :: (LIVE && (state[0] == PARKED || state[1] == PARKED)) ->
#else
  :: (LIVE && (state[0] == PARKED || state[1] == PARKED)
      && state[0] != OPEN && state[0] != LEASED && state[1] != OPEN && state[1] != LEASED) ->  /* guard: ALL_PARKED */
#endif
     stopped = true; RING_FINISH()
  :: else
  fi
}

inline TAKE_OVER(s) {
  x = 0;
  if                            /* what was on the wire is at risk */
  :: x = 0
  :: held[s] >= first[s] -> x = first[s]
  fi;
  risk = risk + x;
  held[s] = 0; state[s] = OPEN; owner[s] = 0; epoch[s]++; rung[s] = false;
#ifndef BUG_TAKE_OVER_KEEPS_PARKED
  if :: LIVE -> UNPARK(s) :: else fi;
#endif
  x = 0
}

active [2] proctype Worker() {
  byte s, x, me, heard;
  me = _pid + 1;
end_idle:
  do
  /* A work bell is heard; that takes it from the queue. */
  :: atomic { bell[0] -> s = 0; heard = bell_epoch[0]; bell[0] = false; goto hear }
  :: atomic { bell[1] -> s = 1; heard = bell_epoch[1]; bell[1] = false; goto hear }
  :: atomic { fin_bell -> fin_bell = false;
       if
       :: ((state[0] == DONE && state[1] == DONE) || (stopped && state[0] != LEASED && state[1] != LEASED)) ->
          assert(I14_stop_is_right || !stopped || !(state[0] != DONE && FITS(first[0])) && !(state[1] != DONE && FITS(first[1])));
          ended = true
       :: else
       fi }
  :: atomic { ended -> break }
  od;
  goto over;

hear:
  if :: atomic { crashes < CRASHES -> crashes++; s = 0; heard = 0; goto end_idle } :: true fi;   /* killed with the bell in hand */
  atomic {
    if
    :: (LIVE && state[s] == OPEN && epoch[s] == heard) ->                 /* guard: STILL_OPEN */
       x = first[s] + rest[s];
       if
       :: FITS(x) -> held[s] = x
       :: !FITS(x) && FITS(first[s]) -> held[s] = first[s]
       :: else ->
          state[s] = PARKED; STOP_IF_STUCK(); s = 0; x = 0; heard = 0; goto end_idle
       fi;
       state[s] = LEASED; owner[s] = me; epoch[s]++; heard = epoch[s]; x = 0; assert(I4_limit || HELD <= LIM)
    :: else -> s = 0; heard = 0; goto end_idle
    fi };
  if :: atomic { crashes < CRASHES -> crashes++; owner[s] = 9; s = 0; heard = 0; goto end_idle } :: true fi;
  /* It is worked and handed back. */
  atomic {
    if
    :: (state[s] == LEASED && epoch[s] == heard) ->
       x = held[s]; held[s] = 0; owner[s] = 0;
       if
       :: x >= first[s] + rest[s] -> state[s] = DONE; first[s] = 0; rest[s] = 0
       :: else -> state[s] = OPEN; first[s] = rest[s]; rest[s] = 0        /* what it held is used up; more was refused */
       fi;
       if :: state[s] == DONE -> used = used + 1 :: else -> used = used + 1 fi;   /* calls cost less than their worst case */
       if
       :: state[0] == DONE && state[1] == DONE -> RING_FINISH()
       :: else ->
          if :: LIVE -> UNPARK(s); if :: state[s] == OPEN -> RING(s) :: else fi; STOP_IF_STUCK()
             :: !LIVE && state[0] != LEASED && state[1] != LEASED -> RING_FINISH()
             :: else
          fi
       fi
    :: else
    fi; s = 0; x = 0; heard = 0; goto end_idle };
over: skip
}

/* The queue may lose a bell. */
active proctype Thief() {
  do
  :: atomic { losses < LOSSES && bell[0] -> losses++; bell[0] = false }
  :: atomic { losses < LOSSES && bell[1] -> losses++; bell[1] = false }
  :: atomic { losses < LOSSES && fin_bell -> losses++; fin_bell = false }
  :: atomic { losses < LOSSES -> losses = LOSSES }                        /* faults stop */
  :: atomic { losses == LOSSES -> break }
  od
}

/* Time passes: what was rung some while ago counts as unheard. */
active proctype Clock() {
  do
  :: atomic { rung[0] && !ended -> rung[0] = false }
  :: atomic { rung[1] && !ended -> rung[1] = false }
  :: atomic { fin_rung && !ended -> fin_rung = false }
  :: ended -> break
  od
}

/* The heart of every worker: it takes over what the dead hold and audits. */
active proctype Heart() {
  byte s, x;
  do
#ifndef BUG_NO_REAP
  :: atomic { owner[0] == 9 -> TAKE_OVER(0) }
  :: atomic { owner[1] == 9 -> TAKE_OVER(1) }
#endif
#ifndef BUG_NO_AUDIT
  :: atomic { LIVE && state[0] == OPEN && !rung[0] && !bell[0] -> RING(0) }          /* guard: RING_AGAIN */
  :: atomic { LIVE && state[1] == OPEN && !rung[1] && !bell[1] -> RING(1) }
#endif
#ifndef BUG_FINISH_NOT_AUDITED
  :: atomic { !ended && !fin_rung && !fin_bell && ((state[0] == DONE && state[1] == DONE) || (stopped && state[0] != LEASED && state[1] != LEASED)) -> RING_FINISH() }  /* guard: FINISH_AGAIN */
#endif
  :: ended -> break
  od
}

init {
  atomic {
    first[0] = 2; rest[0] = 1; first[1] = 1; rest[1] = 0;
    RING(0); RING(1)
  }
}

ltl ends { <> ended }
