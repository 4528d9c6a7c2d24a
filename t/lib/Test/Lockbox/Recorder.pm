package Test::Lockbox::Recorder;

# A tenant API that is quick and writes down the X-Request-Id of each request,
# a line each, before it answers.

use strict;
use warnings;

use Fcntl qw(O_APPEND O_CREAT O_WRONLY);
use IO::Select;

use Test::Lockbox::Upstream;

my $ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n"
             . "\r\nok";


# Starts it on port 8081.
sub start {
    my ($t) = @_;

    my $listener = Test::Lockbox::Upstream::listener($t->port(8081));
    my $file = $t->testdir . '/recorder.ids';

    $t->write_file('recorder.ids', '');
    $t->start_process('recorder', code => sub { serve($listener, $file) });
}

# The ids so far.
sub ids {
    my ($t) = @_;

    return split /\n/, $t->read_file('recorder.ids');
}

sub serve {
    my ($listener, $file) = @_;

    sysopen my $record, $file, O_WRONLY | O_CREAT | O_APPEND
        or die "$file: $!\n";

    local $SIG{PIPE} = 'IGNORE';
    my $select = IO::Select->new($listener);
    my %text;

    while (1) {
        for my $socket ($select->can_read) {
            if ($socket == $listener) {
                my $client = $listener->accept or next;
                $select->add($client);
                next;
            }

            my $read = sysread $socket, $text{$socket}, 65536,
                               length($text{$socket} // '');
            next if $read && $text{$socket} !~ /\r\n\r\n/;

            answer($socket, $record, $text{$socket}) if $read;
            $select->remove($socket);
            delete $text{$socket};
            close $socket;
        }
    }
}

sub answer {
    my ($socket, $record, $text) = @_;

    my ($id) = $text =~ /^X-Request-Id: (\S+)\r$/mi;

    syswrite $record, ($id // 'none') . "\n" or die "recorder: $!\n";
    syswrite $socket, $ANSWER;
}


1;
