/* Nested budgets and limits that change: two runs, each with its own budget, under one that they share.
   A lease here has one call on the wire at a time; what becomes of its items is money.pml's matter.
   The shared one begins anew once, when the day ends: a lease draws on the day on which it was claimed until its
   money is settled, and so does the late truth of a call that it lost.
   Every atomic{} is one transaction, or one event outside. Levels: 0 and 1 are the runs' own, 2 and 3 the days. */

#define RUNS 2
#define LEVELS 4
#define DAY(d) (2+(d))
#define R 2                     /* the worst case of a call; its price is 1..R */
#ifndef LIM0
#define LIM0 4
#endif
#ifndef LIM1
#define LIM1 4
#endif
#ifndef LIM2
#define LIM2 6
#endif
#ifndef CHANGES
#define CHANGES 1               /* of any limit, up or down */
#endif
#ifndef CLAIMS
#define CLAIMS 3                /* of both runs together */
#endif
#ifndef CALLS
#define CALLS 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

hidden byte I4_limit, I4_bill, I4_lease, I4_sums;

byte lim[LEVELS], spent[LEVELS], res[LEVELS], risk[LEVELS];   /* the budget rows */
bit today;                                      /* which day it is */
bit draw[RUNS];                                 /* of the lease: the day on which it was claimed */
bit lostdraw[RUNS]; byte atrisk[2], settled[2]; /* of the lost call; what each day must hold */
bool leased[RUNS]; byte epoch[RUNS], l_res[RUNS], l_open[RUNS], l_spent[RUNS];   /* one shard row a run */
byte lost[RUNS];                                /* the lost row of a run: the epoch whose call it is */
bool lostcall[RUNS];
byte ceiling[LEVELS];                                /* what a level may hold: its limit, or, since that was lowered, what it held then and no more */
byte bill[RUNS];
byte changes, claims, calls, crashes;

#define HELD(l) (spent[l] + res[l] + risk[l])

#ifdef BUG_LOWERED_IS_HEADROOM
#define FITS(l,x) ((255 & (lim[l] - HELD(l) + 256)) >= (x))
#else
#define FITS(l,x) (HELD(l) + (x) <= lim[l])                             /* guard: WITHIN_BUDGET */
#endif

inline CHECK() {
  d_step {
    c = 0;
    do
    :: c < LEVELS ->
       assert(I4_limit || HELD(c) <= ceiling[c]);                       /* over its limit a level only shrinks */
       if :: HELD(c) > lim[c] -> ceiling[c] = HELD(c) :: else -> ceiling[c] = lim[c] fi;
       c++
    :: else -> break
    od; c = 0;
    assert(I4_sums || (spent[2] + spent[3] == spent[0] + spent[1] && risk[2] + risk[3] == risk[0] + risk[1]));
    c = 0;
    do
    :: c < 2 ->
       assert(I4_sums || res[DAY(c)] == (draw[0] == c -> l_res[0] : 0) + (draw[1] == c -> l_res[1] : 0));
       assert(I4_sums || (risk[DAY(c)] == atrisk[c] && spent[DAY(c)] == settled[c]));
       c++
    :: else -> break
    od; c = 0;
    assert(I4_sums || (res[0] == l_res[0] && res[1] == l_res[1]));
    assert(I4_lease || (l_open[0]+l_spent[0] <= l_res[0] && l_open[1]+l_spent[1] <= l_res[1]));
    assert(I4_bill || (bill[0] <= spent[0]+l_open[0]+l_spent[0]+risk[0] && bill[1] <= spent[1]+l_open[1]+l_spent[1]+risk[1]))
  }
}

/* Reserve x on the run's level and the shared one of a day, or on none. */
inline RESERVE(x, d) {
  ok = false;
  if
#ifdef BUG_PARTIAL_RESERVE
  :: FITS(r,x) ->
     res[r] = res[r] + x;
     if :: FITS(DAY(d),x) -> res[DAY(d)] = res[DAY(d)] + x; ok = true :: else fi
#else
  :: (FITS(r,x) && FITS(DAY(d),x)) -> res[r] = res[r] + x; res[DAY(d)] = res[DAY(d)] + x; ok = true
#endif
  :: else
  fi
}

/* Settle on the run's level and on that of day d; right is the day it must be. */
inline MOVE(release, spend, more, less, d, right) {
  settled[right] = settled[right] + spend; atrisk[right] = atrisk[right] + more - less;
  res[r] = res[r] - release; spent[r] = spent[r] + spend; risk[r] = risk[r] + more - less;
#ifndef BUG_SETTLE_RUN_ONLY
  res[DAY(d)] = res[DAY(d)] - release; spent[DAY(d)] = spent[DAY(d)] + spend; risk[DAY(d)] = risk[DAY(d)] + more - less
#endif
}

#ifdef BUG_SETTLE_TODAY
#define SETTLED_IN today
#else
#define SETTLED_IN draw[r]                                              /* guard: CLAIMED_DRAW */
#endif
#ifdef BUG_LATE_TODAY
#define LATE_IN today
#else
#define LATE_IN lostdraw[r]                                             /* guard: CLAIMED_DRAW */
#endif
#ifdef BUG_TOPUP_TODAY
#define TOPUP_IN today
#else
#define TOPUP_IN draw[r]                                                /* guard: CLAIMED_DRAW */
#endif

inline TAKE_OVER() {
  MOVE(l_res[r], l_spent[r], l_open[r], 0, SETTLED_IN, draw[r]);
  if :: l_open[r] > 0 -> lost[r] = epoch[r]; lostdraw[r] = draw[r]; lostcall[r] = true :: else fi;
  l_res[r] = 0; l_open[r] = 0; l_spent[r] = 0; draw[r] = 0; leased[r] = false; epoch[r]++
}

#define FENCE (epoch[r] == my && leased[r])

proctype Worker(byte r) {
  byte my, cost, c, x; bool ok;
idle:
  do
  :: atomic { claims < CLAIMS && !leased[r] ->
       if
#ifdef BUG_STALE_LIMIT
       :: true -> x = lim[r]                                             /* the limit is read here, the money taken later */
#else
       :: true -> RESERVE(2*R, today); if :: ok -> x = 2*R :: else -> RESERVE(R, today); if :: ok -> x = R :: else fi fi
       :: true -> RESERVE(R, today); if :: ok -> x = R :: else fi
#endif
       fi;
#ifndef BUG_STALE_LIMIT
       if :: ok -> claims++; leased[r] = true; epoch[r]++; my = epoch[r]; l_res[r] = x; draw[r] = today; x = 0; ok = false;
             lostcall[r] = false; lost[r] = 0; lostdraw[r] = 0;          /* of a holder that died: nobody will tell */
             CHECK(); goto work
          :: else
       fi
#endif
     }
#ifdef BUG_STALE_LIMIT
     ; atomic {
       if
       :: (!leased[r] && HELD(r) + R <= x && FITS(DAY(today),R)) -> res[r] = res[r] + R; res[DAY(today)] = res[DAY(today)] + R; draw[r] = today;
          claims++; leased[r] = true; epoch[r]++; my = epoch[r]; l_res[r] = R; x = 0; CHECK(); goto work
       :: else -> x = 0
       fi }
#endif
  :: atomic { leased[r] -> TAKE_OVER(); CHECK() }
  od;

work:
  do
  :: atomic { cost == 0 && calls < CALLS ->
       if
       :: !FENCE -> goto forget
       :: (FENCE && l_open[r] + l_spent[r] + R <= l_res[r]) -> calls++; l_open[r] = l_open[r] + R;
          select(cost : 1 .. R); bill[r] = bill[r] + cost; CHECK()
       :: else ->                                                        /* top-up */
#ifdef BUG_TOPUP_RUN_ONLY
          if :: FITS(r,R) -> res[r] = res[r] + R; ok = true :: else fi;
#else
          RESERVE(R, TOPUP_IN);
#endif
          if :: ok -> l_res[r] = l_res[r] + R; ok = false; CHECK() :: else fi
       fi }
  :: atomic { cost > 0 ->                                                /* commit, give up on it, or be fenced */
       if
       :: FENCE -> l_open[r] = l_open[r] - R;
          if :: l_spent[r] = l_spent[r] + cost :: l_spent[r] = l_spent[r] + R fi
       :: !FENCE && lostcall[r] && lost[r] == my ->
#ifdef BUG_LATE_RUN_ONLY
          risk[r] = risk[r] - R; spent[r] = spent[r] + cost; atrisk[lostdraw[r]] = atrisk[lostdraw[r]] - R; settled[lostdraw[r]] = settled[lostdraw[r]] + cost;
#else
          MOVE(0, cost, 0, R, LATE_IN, lostdraw[r]);
#endif
          lostcall[r] = false; lost[r] = 0; lostdraw[r] = 0
       :: else
       fi; cost = 0; CHECK() }
  :: atomic { cost == 0 ->
       if :: FENCE -> MOVE(l_res[r], l_spent[r], 0, 0, SETTLED_IN, draw[r]); l_res[r] = 0; l_spent[r] = 0; draw[r] = 0; leased[r] = false
          :: else
       fi; CHECK(); goto forget }
  :: atomic { crashes < CRASHES -> crashes++; goto forget }
  od;
forget:
  atomic { my = 0; cost = 0; ok = false; x = 0; goto idle }
}

/* Another worker finds a holder dead that may not be. */
proctype Reaper() {
  byte r, c;
  do
  :: atomic { leased[0] -> r = 0; TAKE_OVER(); CHECK() }
  :: atomic { leased[1] -> r = 1; TAKE_OVER(); r = 0; CHECK() }
  od
}

/* The day ends once. */
proctype Midnight() {
  today = 1
}

proctype Operator() {
  byte l, v, c;
  do
  :: atomic { changes < CHANGES -> changes++;
       select(l : 0 .. LEVELS-1);
       if :: v = 0 :: v = R :: v = lim[l] + R :: v = lim[l] - 1 fi;
       if :: v > 8 -> v = 8 :: else fi;
       lim[l] = v;
       if :: v > ceiling[l] -> ceiling[l] = v :: HELD(l) > v -> ceiling[l] = HELD(l) :: else -> ceiling[l] = v fi;
       l = 0; v = 0; CHECK() }
  od
}

init {
  atomic {
    lim[0] = LIM0; lim[1] = LIM1; lim[2] = LIM2; lim[3] = LIM2;
    ceiling[0] = LIM0; ceiling[1] = LIM1; ceiling[2] = LIM2; ceiling[3] = LIM2;
    run Worker(0); run Worker(1); run Reaper(); run Operator(); run Midnight()
  }
}
