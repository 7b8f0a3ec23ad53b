/** Enrolment cannot go on as it is; the message tells the user why, and what to do instead. */
export class EnrolmentError extends Error {}
