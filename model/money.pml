/* The money protocol of one run, as built: the shard row, the run's budget row and the lost rows.
   Every atomic{} is one transaction of the store, or one event outside of it (the provider bills a call).
   A lease holder keeps its book in memory and writes it whole; a write whose reply was lost is repeated.
   README.md says what is left out. Build it with the program in this folder: make model. */

#ifndef NW
#define NW 2                    /* workers */
#endif
#ifndef NS
#define NS 1                    /* shards */
#endif
#ifndef NI
#define NI 2                    /* items in a shard, at most 4 */
#endif
#ifndef LIM
#define LIM 5                   /* the run's budget */
#endif
#define R 2                     /* the worst case of a call; its price is 1..R */
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef CLAIMS
#define CLAIMS 3                /* of all shards together */
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 1
#endif
#ifndef UNSENT
#define UNSENT 1                /* calls that surely never left */
#endif
#ifndef REPEATS
#define REPEATS 1               /* writes that are written twice */
#endif
#define EPOCHS (2*CLAIMS+1)
#define BIT(i) (1<<(i))
#define IT(s,i) ((s)*NI+(i))
#define LOST(s,e,i) (((s)*EPOCHS+(e))*NI+(i))

#define OPEN 0
#define LEASED 1
#define DONE 2

#define READY 0                 /* an item in its holder's memory */
#define FLYING 1                /* its start is durable */
#define ANSWERED 2              /* billed; the answer is in memory */
#define SETTLED 3

/* The names under which an assertion is reported. */
hidden byte I1_kept, I2_once, I3_calls, I4_limit, I4_bill, I4_lease, I4_sums;

/* The rows. */
byte state[NS], epoch[NS], done[NS], started[NS], res[NS], opened[NS], spent[NS];
byte b_spent, b_res, b_risk;
bool lost[NS*EPOCHS*NI];

/* What the world knows. */
byte bill, paid, recorded, unknown, outcomes[NS*NI];
byte crashes, claims, timeouts, unsents, repeats;

inline CHECK() {
  d_step {
    c_i = 0; c_res = 0; c_open = 0; c_wire = 0; c_risk = 0;
    do
    :: c_i < NS ->
       c_res = c_res + res[c_i]; c_open = c_open + opened[c_i] + spent[c_i];
       assert(I4_lease || opened[c_i] + spent[c_i] <= res[c_i]);        /* a lease never draws more than it holds */
       c_k = 0;
       do
       :: c_k < NI ->
          if :: started[c_i] & BIT(c_k) -> c_wire++ :: else fi;
          assert(I2_once || outcomes[IT(c_i,c_k)] <= 1);                /* one outcome an item */
          assert(I1_kept || ((done[c_i] & BIT(c_k)) != 0) == (outcomes[IT(c_i,c_k)] > 0));  /* what is done has its outcome, and keeps it */
          c_k++
       :: else -> break
       od;
       c_i++
    :: else -> break
    od;
    c_i = 0;
    do
    :: c_i < NS*EPOCHS*NI -> if :: lost[c_i] -> c_risk = c_risk + R :: else fi; c_i++
    :: else -> break
    od;
    assert(I4_limit || b_spent + b_res + b_risk <= LIM);                /* the ledger never passes the budget */
    assert(I4_bill || bill <= b_spent + c_open + b_risk);               /* the bill never passes the ledger */
    assert(I4_sums || (b_res == c_res && b_risk == c_risk));            /* the rows agree with each other */
    assert(I3_calls || paid <= recorded + c_wire + unknown);            /* every paid call is accounted for */
    c_i = 0; c_k = 0; c_res = 0; c_open = 0; c_wire = 0; c_risk = 0
  }
}

/* Which write of the book is current: the guard of T2, T3, T5, top-up and release. */
#ifdef BUG_NO_FENCE
#define FENCE true
#else
#define FENCE (epoch[s] == my && state[s] == LEASED)                     /* guard: FENCE */
#endif

/* T1 claim. Who hears a stale bell does nothing. */
inline CLAIM() {
  c_i = 0; x = 0; k = 0;
  do
  :: k < NI ->
     if
     :: (done[s] & BIT(k)) -> skip
     :: else ->
        if
        :: (!c_i && b_spent + b_res + b_risk + x + R <= LIM) -> x = x + R   /* guard: WITHIN_BUDGET */
        :: else -> c_i = 1                                                   /* as many as fit, in order */
        fi
     fi; k++
  :: else -> break
  od; c_i = 0; k = 0
}

inline TAKE() {
  res[s] = x; b_res = b_res + x; state[s] = LEASED;
#ifndef BUG_SAME_EPOCH
  epoch[s]++;
#endif
  my = epoch[s]; m_done = done[s]; m_started = 0; m_open = 0; m_spent = 0; m_res = x; x = 0;
  for (k : 0 .. NI-1) { if :: m_done & BIT(k) -> phase[k] = SETTLED :: else -> phase[k] = READY fi };
  k = 0
}

#ifdef BUG_SEND_FIRST
#define DURABLE (m_started & BIT(i))
#else
#define DURABLE true
#endif

#ifdef BUG_UNSEND_AFTER_A_BYTE
#define UNSENT_YET (phase[i] == FLYING || phase[i] == ANSWERED)
#else
#define UNSENT_YET (phase[i] == FLYING)                                   /* guard: NO_BYTE_LEFT */
#endif

/* Advance: the whole book, or nothing. */
inline WRITE() {
  done[s] = m_done; started[s] = m_started; opened[s] = m_open; spent[s] = m_spent
}

/* A take-over of a lease whose holder seems dead; it may not be. */
inline TAKE_OVER() {
  b_res = b_res - res[t];
#ifndef BUG_NO_SETTLE
  b_spent = b_spent + spent[t];
#endif
#ifndef BUG_RELEASE_ON_TAKEOVER
  b_risk = b_risk + opened[t];
#endif
  k = 0;
  do
  :: k < NI -> if :: started[t] & BIT(k) -> lost[LOST(t,epoch[t],k)] = true; unknown++ :: else fi; k++
  :: else -> break
  od;
  started[t] = 0; res[t] = 0; opened[t] = 0; spent[t] = 0; state[t] = OPEN;
#ifndef BUG_SAME_EPOCH
  epoch[t]++;
#endif
  k = 0
}

#ifdef BUG_LATE_WHILE_LEASED
#define NOBODY_ELSE true
#else
#define NOBODY_ELSE (state[s] == OPEN)                                    /* guard: NOBODY_ELSE */
#endif
#ifdef BUG_LATE_ON_DONE
#define NOT_DONE true
#else
#define NOT_DONE ((done[s] & BIT(i)) == 0)                                /* guard: NOT_DONE */
#endif

/* T4 the truth of one lost call: c is what it cost, out says that it brought an outcome. */
inline LATE(c, out) {
  if
#ifdef BUG_LATE_TWICE
  :: true ->
#else
  :: lost[LOST(s,my,i)] ->                                               /* guard: LATE_ONCE */
#endif
     lost[LOST(s,my,i)] = false; b_risk = b_risk - R; b_spent = b_spent + c;
     if
     :: (out && NOBODY_ELSE && NOT_DONE) ->
        done[s] = done[s] | BIT(i); outcomes[IT(s,i)]++
     :: else
     fi
  :: else                                                                 /* committed, or told before */
  fi
}

proctype Worker() {
  byte s, t, i, k, x, my, m_done, m_started, m_open, m_spent, m_res, phase[NI], cost[NI];
  byte c_i, c_k, c_res, c_open, c_wire, c_risk;
  bool fits;
idle:
  do
  :: atomic { claims < CLAIMS ->
       select(s : 0 .. NS-1);
       if
       :: (state[s] == OPEN) ->                                           /* guard: STILL_OPEN */
          CLAIM();
          if :: x > 0 -> claims++
             :: else -> goto idle_end                                     /* nothing fits: parked */
          fi
       :: else -> goto idle_end
       fi;
#ifndef BUG_CHECK_THEN_RESERVE
       TAKE(); CHECK(); goto work
#endif
     };
#ifdef BUG_CHECK_THEN_RESERVE
     atomic { if :: state[s] == OPEN -> TAKE(); CHECK(); goto work :: else -> x = 0; s = 0 fi }
#endif
idle_end: atomic { s = 0; x = 0; k = 0; c_i = 0 }
  :: atomic { select(t : 0 .. NS-1);
       if :: state[t] == LEASED -> TAKE_OVER(); t = 0; CHECK()
       :: else -> t = 0
       fi }
  od;

work:
  do
  /* T2: before a byte is sent. */
  :: atomic { select(i : 0 .. NI-1);
       if :: phase[i] == READY ->
#ifdef BUG_OVERDRAW
       fits = true;
#else
       fits = (m_open + m_spent + R <= m_res);                            /* guard: WITHIN_LEASE */
#endif
       if
       :: fits ->
          if
          :: FENCE ->
#ifdef BUG_SEND_FIRST
             skip
#else
             m_started = m_started | BIT(i); m_open = m_open + R; WRITE()
#endif
             ; phase[i] = FLYING
          :: else -> fits = false; i = 0; goto fenced
          fi
       :: !fits && b_spent + b_res + b_risk + R <= LIM ->                 /* top-up */
          if
#ifdef BUG_TOPUP_NO_FENCE
          :: true ->
#else
          :: FENCE ->
#endif
             res[s] = res[s] + R; b_res = b_res + R; m_res = m_res + R
          :: else -> fits = false; i = 0; goto fenced
          fi
       :: else
       fi; fits = false; i = 0; CHECK()
       :: else -> i = 0
       fi }

  /* The provider takes the call and bills it. */
  :: atomic { select(i : 0 .. NI-1);
       if :: phase[i] == FLYING ->
       select(k : 1 .. R); cost[i] = k; bill = bill + k; paid++; phase[i] = ANSWERED; k = 0; i = 0; CHECK()
       :: else -> i = 0
       fi }

#ifdef BUG_SEND_FIRST
  :: atomic { select(i : 0 .. NI-1);
       if :: phase[i] == ANSWERED && !(m_started & BIT(i)) ->
       if :: FENCE -> m_started = m_started | BIT(i); m_open = m_open + R; WRITE() :: else -> i = 0; goto fenced fi; i = 0; CHECK()
       :: else -> i = 0
       fi }
#endif

  /* T5: surely unsent. */
  :: atomic { unsents < UNSENT -> select(i : 0 .. NI-1);
       if :: UNSENT_YET ->
       unsents++;
       if :: FENCE -> m_started = m_started & ~BIT(i); m_open = m_open - R; WRITE(); phase[i] = READY
          :: else -> i = 0; goto fenced
       fi; cost[i] = 0; i = 0; CHECK()
       :: else -> i = 0
       fi }

  /* T3: outcome, book and attempt in one write. */
  :: atomic { select(i : 0 .. NI-1);
       if :: (phase[i] == ANSWERED && DURABLE) ->
       if
       :: FENCE ->
#ifdef BUG_RELATIVE_WRITE
          done[s] = done[s] | BIT(i); started[s] = started[s] & ~BIT(i); opened[s] = opened[s] - R; spent[s] = spent[s] + cost[i];
          m_done = done[s]; m_started = started[s]; m_open = m_open - R; m_spent = m_spent + cost[i];
#else
          m_done = m_done | BIT(i); m_started = m_started & ~BIT(i); m_open = m_open - R; m_spent = m_spent + cost[i]; WRITE();
#endif
#ifndef BUG_SPLIT_COMMIT
          outcomes[IT(s,i)]++; recorded++;
#endif
          phase[i] = SETTLED
       :: else -> i = 0; goto fenced
       fi;
       /* Its reply was lost: the same write again. Its chunk is there already (guard: CHUNK_ONCE). */
       if
       :: repeats < REPEATS -> repeats++;
#ifdef BUG_RELATIVE_WRITE
          opened[s] = opened[s] - R; spent[s] = spent[s] + cost[i]
#else
          WRITE()
#endif
#ifdef BUG_CHUNK_TWICE
          ; outcomes[IT(s,i)]++
#endif
       :: true
       fi;
       cost[i] = 0;
#ifndef BUG_SPLIT_COMMIT
       i = 0;
#endif
       CHECK()
       :: else -> i = 0
       fi }
#ifdef BUG_SPLIT_COMMIT
     ; if :: atomic { crashes < CRASHES -> crashes++; CHECK(); goto dead } :: atomic { outcomes[IT(s,i)]++; recorded++; i = 0 } fi
#endif

  /* The client gives up: the call was billed, what it cost is not known here. */
  :: atomic { timeouts < TIMEOUTS -> select(i : 0 .. NI-1);
       if :: phase[i] == ANSWERED && (m_started & BIT(i)) -> timeouts++;
       if
       :: FENCE -> m_started = m_started & ~BIT(i); m_open = m_open - R;
#ifndef BUG_TIMEOUT_FREE
          m_spent = m_spent + R;                                           /* guard: WORST_CASE */
#endif
          WRITE(); recorded++; phase[i] = READY
       :: else -> i = 0; goto fenced
       fi; cost[i] = 0; i = 0; CHECK()
       :: else -> i = 0
       fi }

  /* Release, in order. */
  :: atomic {
       k = 0; do :: k < NI && (phase[k] == READY || phase[k] == SETTLED) -> k++ :: else -> break od;
       k == NI -> k = 0;
       if
       :: FENCE && opened[s] == 0 ->                                      /* guard: NOTHING_OPEN */
          b_res = b_res - res[s]; b_spent = b_spent + spent[s]; res[s] = 0; spent[s] = 0;
          if :: done[s] == (BIT(NI)-1) -> state[s] = DONE :: else -> state[s] = OPEN fi
       :: else
       fi; CHECK(); goto forget }

  :: atomic { crashes < CRASHES -> crashes++; goto dead }

  /* Another seems dead to this one. */
  :: atomic { select(t : 0 .. NS-1);
       if :: state[t] == LEASED -> TAKE_OVER(); t = 0; CHECK()
       :: else -> t = 0
       fi }
  od;

fenced:                         /* each call that was on the wire tells its truth, perhaps twice */
  do
  :: atomic { i < NI && phase[i] == FLYING ->
       if
       :: true -> select(k : 1 .. R); cost[i] = k; bill = bill + k; paid++; phase[i] = ANSWERED; k = 0
       :: true -> LATE(0, false); if :: repeats < REPEATS -> repeats++; LATE(0, false) :: true fi; phase[i] = READY; i++
       fi; CHECK() }
  :: atomic { i < NI && phase[i] == ANSWERED ->
       LATE(cost[i], true); if :: repeats < REPEATS -> repeats++; LATE(cost[i], true) :: true fi;
       phase[i] = READY; cost[i] = 0; i++; CHECK() }
  :: atomic { i < NI && (phase[i] == READY || phase[i] == SETTLED) -> i++ }
  :: atomic { crashes < CRASHES -> crashes++; goto dead }
  :: atomic { i == NI -> goto forget }
  od;

dead:                           /* SIGKILL: memory is gone; another process comes */
forget:
  atomic {
    s = 0; t = 0; i = 0; k = 0; x = 0; my = 0; m_done = 0; m_started = 0; m_open = 0; m_spent = 0; m_res = 0; fits = false;
    do :: k < NI -> phase[k] = 0; cost[k] = 0; k++ :: else -> break od; k = 0;
    goto idle
  }
}

init { byte n; atomic { do :: n < NW -> run Worker(); n++ :: else -> break od; n = 0 } }
