/* How committed outcomes go to cold storage: chunk rows -> a file named by its content -> the pointer is
   switched and the rows go, in one transaction. Readers look on; a retry or a late answer commits meanwhile;
   the process is killed, or the power goes, between any two steps. A set of outcomes is a bitmask. */

#ifndef K
#define K 3                     /* outcomes, each committed in a chunk of its own */
#define SETS 8                  /* 2^K */
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef READERS
#define READERS 1
#endif
#ifdef BUG_TWO_SEALERS
#define SEALERS 2
#else
#define SEALERS 1               /* guard: ONE_SEALER */
#endif
#define BIT(i) (1<<(i))

#define ABSENT 0
#define WRITTEN 1               /* a power cut may take it */
#define SYNCED 2

hidden byte I1_kept, I2_seen_once, I9_whole;

byte row[K];                    /* the chunk's row number, 0 for none; the next is one above the largest that is there */
byte committed;                 /* what was acknowledged */
byte ptr;                       /* the segment's name: what is in it; 0 for none */
byte file[SETS];
byte crashes;

inline CHECK() {
  d_step {
    x = 0; y = 0;
    do
    :: x < K -> if :: row[x] > 0 -> y = y | BIT(x) :: else fi; x++
    :: else -> break
    od;
    assert(I9_whole || ptr == 0 || file[ptr] != ABSENT);                 /* what is pointed at is there */
    assert(I1_kept || (committed & ~(y | ptr)) == 0);                    /* what was acknowledged is somewhere */
    x = 0; y = 0
  }
}

/* Commits chunk by chunk. */
proctype Writer() {
  byte i, x, y, n;
  do
  :: atomic { i < K ->
       n = 0; x = 0; do :: x < K -> if :: row[x] > n -> n = row[x] :: else fi; x++ :: else -> break od;
       row[i] = n + 1; committed = committed | BIT(i); i++; n = 0; x = 0; CHECK() }
  :: atomic { i == K -> break }
  od
}

inline CRASH() {                /* possible between any two steps of the sealer: a kill, or a power cut */
  if
  :: crashes < CRASHES -> crashes++; goto killed
  :: crashes < CRASHES -> crashes++; x = 0;
     do :: x < SETS -> if :: file[x] == WRITTEN -> file[x] = ABSENT :: else fi; x++ :: else -> break od; x = 0; CHECK(); goto killed
  :: true
  fi
}

inline DELETE_THROUGH() {
  x = 0;
  do
  :: x < K ->
     if
#ifdef BUG_DELETE_ALL
     :: row[x] > 0 -> row[x] = 0
#else
     :: (row[x] > 0 && row[x] <= through) -> row[x] = 0                   /* guard: SEAL_THROUGH */
#endif
     :: else
     fi; x++
  :: else -> break
  od; x = 0
}

proctype Sealer() {
  byte was, set, through, next, x, y;
again:
  atomic { was = ptr; set = ptr; through = 0 };                           /* the old segment, read and verified */
  do                                                                      /* the chunks, a page at a time */
  :: atomic {
       next = 0; x = 0;
       do
       :: x < K -> if :: row[x] > through -> if :: next == 0 -> next = x + 1 :: next > 0 && row[x] < row[next-1] -> next = x + 1 :: else fi :: else fi; x++
       :: else -> break
       od; x = 0;
       if :: next > 0 -> set = set | BIT(next-1); through = row[next-1]; next = 0
          :: else -> break
       fi }
  od;
  if :: atomic { set == was -> goto killed } :: else fi;                  /* nothing new */
#ifdef BUG_DELETE_BEFORE_POINTER
  atomic { DELETE_THROUGH(); CHECK(); CRASH() };
#endif
#ifdef BUG_POINTER_BEFORE_FILE
  atomic { ptr = set; CHECK() };
#endif
  atomic { if :: file[set] == ABSENT -> file[set] = WRITTEN :: else fi; CRASH() };
#ifndef BUG_POINTER_BEFORE_SYNC
  atomic { file[set] = SYNCED; CRASH() };                                 /* guard: SYNCED_FIRST */
#endif
  atomic { ptr = set;
#ifdef BUG_DELETE_LATER
    CHECK(); CRASH() }; atomic {                                          /* rows and pointer in two transactions */
#endif
    DELETE_THROUGH(); CHECK(); CRASH() };
#ifdef BUG_DROP_WHAT_IS_POINTED_AT
  atomic { file[ptr] = ABSENT; CHECK() };
#else
  atomic { if :: (was != 0 && was != ptr) -> file[was] = ABSENT :: else fi; CHECK() };  /* guard: NOT_POINTED_AT */
#endif
killed:
  atomic { was = 0; set = 0; through = 0; next = 0; x = 0; y = 0; goto again }
}

/* Reads the pointer, its file, then the chunks page by page, and looks at the pointer again. */
proctype Reader() {
  byte must, p, seen, twice, after, next, x;
begin:
  atomic { must = committed; };
look:
  atomic { p = ptr; seen = 0; twice = 0; after = 0 };
  atomic {
    if
    :: p == 0
    :: p != 0 && file[p] != ABSENT -> seen = p
    :: p != 0 && file[p] == ABSENT ->
#ifdef BUG_READER_GIVES_UP
       assert(I9_whole)
#else
       assert(I9_whole || ptr != p); goto look                            /* it was replaced meanwhile (guard: LOOK_AGAIN) */
#endif
    fi };
  do
  :: atomic {
       next = 0; x = 0;
       do
       :: x < K -> if :: row[x] > after -> if :: next == 0 -> next = x + 1 :: next > 0 && row[x] < row[next-1] -> next = x + 1 :: else fi :: else fi; x++
       :: else -> break
       od; x = 0;
       if :: next > 0 -> twice = twice | (seen & BIT(next-1)); seen = seen | BIT(next-1); after = row[next-1]; next = 0
          :: else -> break
       fi }
  od;
  atomic {
    if
#ifndef BUG_READER_LOOKS_ONCE
    :: p != ptr -> goto look                                              /* guard: LOOK_AGAIN */
#endif
    :: else
    fi;
    assert(I2_seen_once || ((must & ~seen) == 0 && twice == 0));
    must = 0; seen = 0; twice = 0; p = 0; after = 0; goto begin }
}

init { byte n; atomic { run Writer(); do :: n < SEALERS -> run Sealer(); n++ :: else -> break od; n = 0; do :: n < READERS -> run Reader(); n++ :: else -> break od } }
