//! Private real servers for tests: started on free ports below 32768, ended by process id.
