package Test::Lockbox::Tls;

# TLS for the clients of a test, by "openssl s_client": a tunnel is a port of
# 127.0.0.1 whose first connection goes on, encrypted, to a server's port.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use IO::Socket::INET;
use POSIX ();

use Lockbox::Jose qw(b64url_encode);


# Makes a key and a certificate by that name, NAME.key and NAME.crt in the
# directory of the test.  With ca => NAME that one signs, else the key itself.
# Returns the thumbprint (RFC 8705 section 3.1).
sub certificate {
    my ($t, $name, %options) = @_;

    my $path = $t->testdir . "/$name";
    my $ca = $t->testdir . '/' . ($options{ca} // '');

    Lockbox::Jose::openssl('', qw(req -x509 -nodes -newkey ec -pkeyopt
        ec_paramgen_curve:P-256 -days 2 -subj), "/CN=$name",
        '-keyout', "$path.key", '-out', "$path.crt",
        $options{ca} ? ('-CA', "$ca.crt", '-CAkey', "$ca.key") : ());

    return b64url_encode(sha256(Lockbox::Jose::openssl('', qw(x509 -outform
        DER -in), "$path.crt")));
}

# A tunnel to that port.  Options: certificate (its name), sni, and others of
# s_client in "options".
sub new {
    my ($class, $t, $port, %options) = @_;

    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
        // die "listen: $!\n";
    my $path = $t->testdir . '/' . ($options{certificate} // '');
    my @command = (qw(openssl s_client -quiet -no_ign_eof -nocommands),
        '-connect', "127.0.0.1:$port",
        '-servername', $options{sni} // 'localhost',
        $options{certificate} ? ('-cert', "$path.crt", '-key', "$path.key")
                              : (),
        @{ $options{options} // [] });

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        eval { run($listener, $t->testdir . '/tls.out', @command) };
        print STDERR $@;
        POSIX::_exit(127);
    }

    return bless { pid => $pid, port => $listener->sockport }, $class;
}

sub run {
    my ($listener, $errors, @command) = @_;

    my $client = $listener->accept or die "accept: $!\n";

    close $listener;
    open STDIN, '<&', $client or die "stdin: $!\n";
    open STDOUT, '>&', $client or die "stdout: $!\n";
    open STDERR, '>>', $errors or die "$errors: $!\n";
    close $client;

    exec { $command[0] } @command or die "$command[0]: $!\n";
}

# For Test::Lockbox::Http->new() and its like.
sub port {
    my ($self) = @_;

    return $self->{port};
}

sub DESTROY {
    my ($self) = @_;

    local ($?, $!);
    kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
}


1;
