/* The one version literal; rockspec, _VERSION and CHANGELOG are checked against it. */
#ifndef RLK_VERSION_H
#define RLK_VERSION_H

#define RLK_VERSION "0.1.0"

#endif
