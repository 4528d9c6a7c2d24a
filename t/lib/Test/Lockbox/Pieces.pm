package Test::Lockbox::Pieces;

# Lets nginx write a command to Redis in pieces, and hold in between: the test's
# side of t/lib/pieces.c.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);

use Test::Lockbox::Process qw(poll);

my $SOURCE = abs_path(dirname(__FILE__) . '/../../pieces.c');

# The "struct control" there: numbers, sizes, length and text.
my $NUMBERS = 6;
my $SIZES = 16;
my $TEXT = 256;
my $WORDS = $NUMBERS + $SIZES + 1;

my %AT = (state => 0, turn => 1, allowed => 2, written => 3, refused => 4,
          pieces => 5);
my ($ARMED, $FOUND, $GONE) = (1, 2, 3);


sub new {
    my ($class, $t) = @_;

    my $library = $t->testdir . '/pieces.so';
    my $file = $t->testdir . '/pieces';

    system(qw(cc -O1 -Wall -shared -fPIC -o), $library, $SOURCE) == 0
        or die "no $library\n";

    open my $fh, '+>:raw', $file or die "$file: $!\n";
    my $self = bless { fh => $fh, library => $library, file => $file }, $class;
    $self->write_at(0, pack "q$WORDS x$TEXT");

    return $self;
}

# Does the work; an nginx that it starts can be held.
sub within {
    my ($self, $work) = @_;

    local $ENV{LD_PRELOAD} = $self->{library};
    local $ENV{LOCKBOX_PIECES} = $self->{file};

    return $work->();
}

# From the next write on that has the text, its connection takes nothing; or so
# many bytes.
sub hold {
    my ($self, $text, $bytes) = @_;

    length $text <= $TEXT or die "too long: $text\n";

    $self->write_at(0, pack 'q', 0);
    $self->write_at(1, pack 'q*', ++$self->{turn}, $bytes // 0,
                    (0) x ($WORDS - 4), length $text);
    $self->write_at($WORDS, $text);
    $self->write_at(0, pack 'q', $ARMED);
}

# Waits for that write; the sizes of its pieces.
sub held {
    my ($self) = @_;

    poll(sub { $self->number('state') >= $FOUND })
        or die "waited in vain for something to hold\n";

    my @words = $self->words;

    return @words[$NUMBERS .. $NUMBERS + $words[$AT{pieces}] - 1];
}

# Lets so many bytes of it through, counted from its begin, and waits until they
# are written and no more is taken.
sub allow {
    my ($self, $bytes) = @_;

    my $refused = $self->number('refused');

    $self->write_at($AT{allowed}, pack 'q', $bytes);
    poll(sub {
        return $self->written == $bytes
               && $self->number('refused') > $refused;
    }) or die "waited in vain for $bytes bytes to be written\n";
}

sub release {
    my ($self) = @_;

    $self->write_at($AT{allowed}, pack 'q', -1);
}

# The bytes that the connection has taken, from that write on.
sub written {
    my ($self) = @_;

    return $self->number('written');
}

# Whether nginx has closed the connection.
sub gone {
    my ($self) = @_;

    return $self->number('state') == $GONE;
}

sub number {
    my ($self, $name) = @_;

    return ($self->words)[$AT{$name}];
}

sub words {
    my ($self) = @_;

    sysseek $self->{fh}, 0, 0;
    sysread $self->{fh}, my $bytes, 8 * $WORDS;

    return unpack 'q*', $bytes;
}

sub write_at {
    my ($self, $word, $bytes) = @_;

    sysseek $self->{fh}, 8 * $word, 0;
    syswrite $self->{fh}, $bytes;
}


1;
