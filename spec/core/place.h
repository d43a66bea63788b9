/* A directory of its own for a test that needs a file. */
#ifndef TEST_PLACE_H
#define TEST_PLACE_H

typedef struct place {
    char directory[64];
    char path[80]; /* of a file in it, which is not there yet */
} place;

place place_arrive(void);

/* Removes the directory and all that is in it. */
void place_leave(place *p);

#endif
