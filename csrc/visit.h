/* Being in a namespace of somebody else's for a moment. Part of the host side. */
#pragma once

/* Back to the namespace that `own` is a descriptor of (CLONE_NEW* is its type). If that is refused the process ends: nothing
 * that it did in the wrong namespace could be right. */
void return_to_own(int own, int type);
