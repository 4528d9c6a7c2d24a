package Test::Lockbox::Vitals;

# What a process holds, as Linux tells it.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(memory resident descriptors targets);


# Its memory in kB, without what is mapped from files; 0 for one that a
# sanitizer or valgrind watches, which keep what is freed.
sub memory {
    my ($pid) = @_;

    return 0 if content("/proc/$pid/maps") =~ /libasan|valgrind/;

    return status($pid, 'RssAnon');
}

# All that it has touched, with what it shares, in kB.
sub resident {
    my ($pid) = @_;

    return status($pid, 'VmRSS');
}

sub status {
    my ($pid, $name) = @_;

    my ($kb) = content("/proc/$pid/status") =~ /^$name:\s+(\d+) kB$/m
        or die "no $name of $pid\n";

    return $kb;
}

sub content {
    my ($file) = @_;

    open my $fh, '<', $file or die "$file: $!\n";

    return join '', <$fh>;
}

# The number of its descriptors.
sub descriptors {
    return scalar(my @all = targets(@_));
}

# What they lead to.
sub targets {
    my ($pid) = @_;

    return grep { defined } map { readlink } glob "/proc/$pid/fd/*";
}


1;
