#pragma once

/* From the step `note-changes` on: what is done is noted, so that it can be taken back. Each returns -1 with errno set if it
 * can't be noted. Before that step they do nothing. */
int undo_note_attached(int mount);
/* Of a mount that is about to be changed: its attributes. What its filesystem is told can't be taken back. */
int undo_note_changing(int mount);
/* A directory or an empty file. */
int undo_note_made(int parent, const char *name);

/* Best effort; errno is of no meaning then. */
void undo_all(void);
